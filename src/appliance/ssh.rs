//! SSH to the console, by dropbear: no other command, no forwarding. Who has no key is let in as
//! far as the console, which asks for the administrator's password; once there are keys, nobody
//! without one comes so far.

use super::{KEPT, mark, remove, sync_directory, systemctl};
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Keys that are kept at most, and the longest line of one, bytes.
const MAX_KEYS: usize = 32;
const MAX_KEY: usize = 8 << 10;
/// Kinds of keys that dropbear takes.
const KINDS: [&str; 6] = [
    "ssh-ed25519",
    "sk-ssh-ed25519@openssh.com",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "ssh-rsa",
];
const SOCKET: &str = "pillarbox-ssh.socket";

/// Its files: `enabled`, `host-key`, and the keys in the home of its one user.
pub struct Ssh {
    root: PathBuf,
    dir: PathBuf,
}

impl Ssh {
    pub fn new(root: &Path) -> Ssh {
        Ssh {
            root: root.to_path_buf(),
            dir: root.join(KEPT).join("ssh"),
        }
    }

    /// Whether the owner allows it.
    pub fn is_on(&self) -> bool {
        self.dir.join("enabled").exists()
    }

    /// Allows it, from now on.
    pub fn allow(&self) -> Result<(), String> {
        self.prepare()?;
        mark(&self.dir.join("enabled")).map_err(|error| error.to_string())?;
        self.open()
    }

    /// Listens until the next start, allowed or not.
    pub fn open(&self) -> Result<(), String> {
        self.prepare()?;
        match systemctl(&self.root, &["start", SOCKET]) {
            true => Ok(()),
            false => Err(format!("{SOCKET} does not start; see its log")),
        }
    }

    /// Forbids it, from now on; sessions that are open go on.
    pub fn forbid(&self) -> Result<(), String> {
        remove(&self.dir.join("enabled")).map_err(|error| error.to_string())?;
        self.close();
        Ok(())
    }

    /// Listens no more, unless it is allowed.
    pub fn close(&self) {
        if !self.is_on() {
            systemctl(&self.root, &["stop", SOCKET]);
        }
    }

    /// Directory and host key.
    fn prepare(&self) -> Result<(), String> {
        let told = |error: io::Error| format!("{}: {error}", self.dir.display());
        let mut private = DirBuilder::new();
        private.recursive(true).mode(0o700);
        private.create(self.dir.join("home/.ssh")).map_err(told)?;
        let key = self.host_key();
        if key.exists() {
            return Ok(());
        }
        let new = key.with_extension("new");
        remove(&new).map_err(told)?;
        let mut maker = Command::new("dropbearkey");
        maker.args(["-t", "ed25519", "-f"]).arg(&new);
        let made = maker.stdin(Stdio::null()).output();
        match made.map_err(|error| format!("dropbearkey: {error}"))? {
            made if made.status.success() => {}
            made => return Err(String::from_utf8_lossy(&made.stderr).into_owned()),
        }
        fs::rename(&new, &key).map_err(told)?;
        sync_directory(&key).map_err(told)
    }

    fn host_key(&self) -> PathBuf {
        self.dir.join("host-key")
    }

    fn keys_path(&self) -> PathBuf {
        self.dir.join("home/.ssh/authorized_keys")
    }

    /// The keys that let in, one a line.
    pub fn keys(&self) -> Vec<String> {
        let text = fs::read_to_string(self.keys_path()).unwrap_or_default();
        text.lines().map(str::to_string).collect()
    }

    /// Lets the owner of a key in, given as OpenSSH's files have it: kind, key, a name.
    pub fn add_key(&self, line: &str) -> Result<(), String> {
        let line = line.trim();
        let mut words = line.split_whitespace();
        let (kind, key) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
        let plain = |c: char| c == ' ' || c.is_ascii_graphic();
        if !KINDS.contains(&kind)
            || key.len() < 40
            || line.len() > MAX_KEY
            || !line.chars().all(plain)
        {
            let kinds = "ssh-ed25519, ecdsa-sha2-..., or ssh-rsa";
            return Err(format!(
                "that is no public key of SSH: one line that begins with {kinds}"
            ));
        }
        let mut keys = self.keys();
        keys.retain(|it| !it.contains(key));
        if keys.len() >= MAX_KEYS {
            return Err(format!("there are {MAX_KEYS} keys: remove one first"));
        }
        keys.push(line.to_string());
        self.write_keys(&keys)
    }

    /// Those with this word in them, say their name; how many that were.
    pub fn remove_keys(&self, word: &str) -> Result<usize, String> {
        let mut keys = self.keys();
        let before = keys.len();
        keys.retain(|it| !it.split_whitespace().any(|it| it == word));
        self.write_keys(&keys)?;
        Ok(before - keys.len())
    }

    fn write_keys(&self, keys: &[String]) -> Result<(), String> {
        self.prepare()?;
        let path = self.keys_path();
        let new = path.with_extension("new");
        let write = || -> io::Result<()> {
            remove(&new)?;
            let mut options = OpenOptions::new();
            let mut file = options
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&new)?;
            for key in keys {
                writeln!(file, "{key}")?;
            }
            file.sync_all()?;
            fs::rename(&new, &path)?;
            sync_directory(&path)
        };
        write().map_err(|error| format!("{}: {error}", path.display()))
    }

    /// Becomes dropbear on the connection that is standard input; gives why it could not.
    pub fn serve(&self, console: &str) -> String {
        let error = self.dropbear(console).exec();
        format!("dropbear: {error}")
    }

    fn dropbear(&self, console: &str) -> Command {
        let mut command = Command::new("dropbear");
        // One connection; no forwarding either way.
        command.args(["-i", "-j", "-k", "-T", "3", "-I", "900"]);
        command.arg("-r").arg(self.host_key());
        // Keys alone; or no password of dropbear's own, for the console asks for one.
        command.arg(if self.keys().is_empty() { "-B" } else { "-s" });
        command.args(["-c", console]);
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_one_plain_line_and_closes_the_way_without() {
        let root = tempfile::tempdir().unwrap();
        let ssh = Ssh::new(root.path());
        fs::create_dir_all(&ssh.dir).unwrap();
        fs::write(ssh.host_key(), "made before").unwrap();
        let words = |ssh: &Ssh| -> Vec<String> {
            let command = ssh.dropbear("the console");
            let words = command
                .get_args()
                .map(|it| it.to_string_lossy().into_owned());
            words.collect()
        };
        assert!(words(&ssh).contains(&"-B".to_string()));
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGJ0dGVzdGtleXRlc3RrZXl0ZXN0a2V5 anna";
        for bad in [
            "",
            "ssh-ed25519",
            "ssh-dss AAAAC3NzaC1lZDI1NTE5AAAAIGJ0dGVzdGtleXRlc3RrZXl0ZXN0a2V5",
            "command=\"sh\" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGJ0dGVzdGtleXRlc3RrZXl0ZXN0a2V5",
            &format!("{key}\nssh-ed25519 more"),
        ] {
            assert!(ssh.add_key(bad).is_err(), "{bad}");
        }
        ssh.add_key(key).unwrap();
        // Once more is once.
        ssh.add_key(key).unwrap();
        assert_eq!(ssh.keys(), [key]);
        assert!(
            words(&ssh).contains(&"-s".to_string()) && !words(&ssh).contains(&"-B".to_string())
        );
        assert_eq!(ssh.remove_keys("boris"), Ok(0));
        assert_eq!(ssh.remove_keys("anna"), Ok(1));
        assert!(ssh.keys().is_empty());
        ssh.allow().unwrap();
        assert!(ssh.is_on());
        ssh.forbid().unwrap();
        assert!(!ssh.is_on());
    }
}
