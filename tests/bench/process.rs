//! A server as processes: starting, stopping, killing, and what they cost.

use crate::client::{Connection, Result};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Longest wait for a start or an end.
const PATIENCE: Duration = Duration::from_secs(30);
/// Ticks of /proc/PID/stat a second; Linux shows 100 to every program.
const TICKS: u64 = 100;

/// One side of the comparison: all its daemons.
pub struct Server {
    commands: Vec<Vec<String>>,
    /// (port, how its greeting begins): all of them answer, the server is up.
    greetings: Vec<(u16, &'static str)>,
    roots: Vec<Child>,
    cgroup: Option<PathBuf>,
    output: PathBuf,
}

impl Server {
    pub fn new(
        name: &str,
        dir: &Path,
        commands: Vec<Vec<String>>,
        greetings: Vec<(u16, &'static str)>,
    ) -> Server {
        let cgroup = make_cgroup(&format!("pillarbox-bench-{}-{name}", std::process::id()));
        Server {
            commands,
            greetings,
            roots: Vec::new(),
            cgroup,
            output: dir.join(format!("{name}.out")),
        }
    }

    /// How [`Server::cpu`] counts.
    pub fn method(&self) -> &'static str {
        match self.cgroup {
            Some(_) => "cgroup v2",
            None => "/proc/PID/stat",
        }
    }

    /// Starts it; gives the time until every port has greeted.
    pub fn start(&mut self) -> Result<Duration> {
        self.spawn(&[])
    }

    /// As `start`, under strace, which logs a line a call that syncs to `log`.
    pub fn start_traced(&mut self, log: &Path) -> Result<()> {
        let calls = "trace=fsync,fdatasync,sync_file_range,msync,sync,syncfs";
        // -D keeps the server our child; seccomp-bpf stops it at these calls alone.
        let strace = [
            "strace",
            "-D",
            "-f",
            "--seccomp-bpf",
            "-qq",
            "-A",
            "-e",
            calls,
        ];
        let mut prefix: Vec<String> = strace.iter().map(|word| word.to_string()).collect();
        prefix.extend(["-e".into(), "signal=none".into(), "-o".into()]);
        prefix.push(log.display().to_string());
        self.spawn(&prefix)?;
        Ok(())
    }

    fn spawn(&mut self, prefix: &[String]) -> Result<Duration> {
        let output = fs::File::options()
            .create(true)
            .append(true)
            .open(&self.output)?;
        let began = Instant::now();
        for command in &self.commands {
            let mut child = Command::new("sh");
            child.stdin(Stdio::null());
            child
                .stdout(output.try_clone()?)
                .stderr(output.try_clone()?);
            // The shell puts itself into the cgroup, then becomes the server; which ends with us.
            match &self.cgroup {
                Some(path) => child
                    .args([
                        "-c",
                        "echo $$ >\"$0\"/cgroup.procs && exec setpriv --pdeathsig TERM \"$@\"",
                    ])
                    .arg(path),
                None => child.args(["-c", "exec setpriv --pdeathsig TERM \"$@\"", "sh"]),
            };
            self.roots.push(child.args(prefix).args(command).spawn()?);
        }
        for (port, greeting) in self.greetings.clone() {
            while !greets(port, greeting) {
                for root in &mut self.roots {
                    if let Some(status) = root.try_wait()? {
                        let output = fs::read_to_string(&self.output).unwrap_or_default();
                        return Err(format!("the server ended: {status}: {output}").into());
                    }
                }
                if began.elapsed() > PATIENCE {
                    return Err(format!("nothing answers on port {port}").into());
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        Ok(began.elapsed())
    }

    /// SIGTERM, and waits until the last process is gone.
    pub fn stop(&mut self) -> Result<()> {
        let pids = self.pids();
        for root in &self.roots {
            signal(root.id(), Signal::TERM);
        }
        self.wait(&pids)
    }

    /// SIGKILL to every process at once.
    pub fn kill(&mut self) -> Result<()> {
        let pids = self.pids();
        for pid in &pids {
            signal(*pid, Signal::KILL);
        }
        self.wait(&pids)
    }

    fn wait(&mut self, pids: &[u32]) -> Result<()> {
        let began = Instant::now();
        for mut root in self.roots.drain(..) {
            while root.try_wait()?.is_none() {
                if began.elapsed() > PATIENCE {
                    root.kill()?;
                    return Err("the server didn't end".into());
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        while pids
            .iter()
            .any(|pid| Path::new(&format!("/proc/{pid}")).exists())
        {
            if began.elapsed() > PATIENCE {
                return Err("a process of the server didn't end".into());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// CPU time so far of all its processes, those that ended included.
    pub fn cpu(&self) -> Duration {
        if let Some(path) = &self.cgroup {
            let stat = fs::read_to_string(path.join("cpu.stat")).unwrap_or_default();
            let usage = stat
                .lines()
                .find_map(|line| line.strip_prefix("usage_usec "));
            return Duration::from_micros(usage.and_then(|n| n.parse().ok()).unwrap_or(0));
        }
        // utime, stime, and of the children that were waited for: cutime, cstime.
        let ticks = |pid: &u32| Some(fields(*pid)?.get(10..14)?.iter().sum::<u64>());
        let sum: u64 = self.pids().iter().filter_map(ticks).sum();
        Duration::from_millis(sum * 1000 / TICKS)
    }

    /// Bytes its processes caused to be written to the disk so far, those that ended included:
    /// the kernel adds a child's account to its parent's when it is waited for.
    pub fn written(&self) -> u64 {
        let of = |pid: &u32| {
            let io = fs::read_to_string(format!("/proc/{pid}/io")).ok()?;
            let line = io
                .lines()
                .find_map(|line| line.strip_prefix("write_bytes: "))?;
            line.parse::<u64>().ok()
        };
        self.pids().iter().filter_map(of).sum()
    }

    /// Resident bytes: VmRSS of one process, Pss of many added up.
    pub fn memory(&self) -> u64 {
        let pids = self.pids();
        let (file, key) = match pids.len() {
            1 => ("status", "VmRSS:"),
            _ => ("smaps_rollup", "Pss:"),
        };
        let of = |pid: &u32| {
            let text = fs::read_to_string(format!("/proc/{pid}/{file}")).ok()?;
            let line = text.lines().find_map(|line| line.strip_prefix(key))?;
            line.split_whitespace().next()?.parse::<u64>().ok()
        };
        pids.iter().filter_map(of).sum::<u64>() * 1024
    }

    /// Every living process below the roots.
    pub fn pids(&self) -> Vec<u32> {
        let all: Vec<(u32, u32)> = fs::read_dir("/proc")
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter_map(|pid: u32| Some((pid, *fields(pid)?.first()? as u32)))
            .collect();
        let mut found: Vec<u32> = self.roots.iter().map(Child::id).collect();
        let mut at = 0;
        while at < found.len() {
            let parent = found[at];
            found.extend(
                all.iter()
                    .filter(|(_, of)| *of == parent)
                    .map(|(pid, _)| pid),
            );
            at += 1;
        }
        found
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if !self.roots.is_empty() && self.stop().is_err() {
            let _ = self.kill();
        }
        if let Some(path) = &self.cgroup {
            let _ = fs::remove_dir(path);
        }
    }
}

/// The number fields of /proc/PID/stat, from the parent's PID (field 4) on.
fn fields(pid: u32) -> Option<Vec<u64>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in field 2 may hold anything but its closing parenthesis is the last.
    let (_, rest) = stat.rsplit_once(") ")?;
    let numbers = rest.split(' ').skip(1);
    Some(numbers.map(|field| field.parse().unwrap_or(0)).collect())
}

/// A cgroup of its own, if this machine lets us.
fn make_cgroup(name: &str) -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/mounts").ok()?;
    let mount = mounts.lines().find(|line| line.contains(" cgroup2 "))?;
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let path = Path::new(mount.split(' ').nth(1)?).join(own).join(name);
    fs::create_dir(&path).ok()?;
    Some(path)
}

fn greets(port: u16, greeting: &str) -> bool {
    Connection::plain(port)
        .and_then(|mut connection| Ok(connection.line()?.starts_with(greeting.as_bytes())))
        .unwrap_or(false)
}

fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid as i32) {
        let _ = kill_process(pid, signal);
    }
}
