//! Which machine this is, and what of it runs: a file in the image, and the kernel's command
//! line.

use super::device::Card;
use super::minisign::{self, Keys};
use super::package::Version;
use super::state::Slot;
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The file that makes a machine an appliance.
pub const BOARD_FILE: &str = "/usr/share/pillarbox/board";
pub const COMMAND_LINE: &str = "/proc/cmdline";
const KEY: &str = "/usr/share/pillarbox/update.pub";
/// Where the appliance keeps what is its own; on the card that the slots are on.
const WORK: &str = "/var/lib/pillarbox-box";
/// The one form of the boot state so far.
const STATE: &str = "uboot";

/// What the kernel's command line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Running {
    pub slot: Slot,
    /// It is not known to be good yet.
    pub trial: bool,
}

impl Running {
    pub fn read(line: &str) -> Option<Running> {
        let value = |name: &str| {
            let mut words = line.split_ascii_whitespace();
            words.find_map(|it| it.strip_prefix(name)?.strip_prefix('='))
        };
        Some(Running {
            slot: Slot::parse(value("pillarbox.slot")?)?,
            trial: value("pillarbox.trial") == Some("1"),
        })
    }
}

/// The appliance.
#[derive(Debug)]
pub struct Board {
    pub name: String,
    pub version: Version,
    /// The newest schema of the store that its pillarbox reads.
    pub schema: u64,
    pub running: Running,
    /// Where an update is put while it is looked at.
    pub work: PathBuf,
    disk: Option<PathBuf>,
    key: PathBuf,
}

impl Board {
    /// `None` on a machine that is no appliance: there is no such file.
    pub fn read(file: &Path) -> Result<Option<Board>, String> {
        let text = match fs::read_to_string(file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text.map_err(|error| format!("{}: {error}", file.display()))?,
        };
        let lines = text.lines().filter_map(|line| line.split_once('='));
        let values: BTreeMap<&str, &str> = lines.collect();
        let value = |name: &str| values.get(name).copied();
        let needed = |name: &str| {
            value(name).ok_or_else(|| format!("{} does not say {name}=", file.display()))
        };
        let path = |name: &str, usual: &str| PathBuf::from(value(name).unwrap_or(usual));
        if value("state").is_some_and(|it| it != STATE) {
            return Err("this machine's boot state has a form that is not known".into());
        }
        let line = fs::read_to_string(path("cmdline", COMMAND_LINE)).unwrap_or_default();
        let running = Running::read(&line).ok_or(
            "the kernel's command line does not say which slot runs: nothing can be updated",
        )?;
        let schema = needed("schema")?.parse();
        Ok(Some(Board {
            name: needed("board")?.to_string(),
            version: Version::parse(needed("version")?)
                .ok_or("the board's version is malformed")?,
            schema: schema.map_err(|_| "the board's schema is malformed")?,
            running,
            work: path("work", WORK),
            disk: value("disk").map(PathBuf::from),
            key: path("key", KEY),
        }))
    }

    /// The card: the one that is named, or the one on which the appliance keeps its own.
    pub fn card(&self, writing: bool) -> Result<Card, String> {
        match &self.disk {
            Some(path) => Card::open(path, writing),
            None => Card::open(&disk_of(&self.work)?, writing),
        }
    }

    /// Whom updates are taken from.
    pub fn keys(&self) -> Result<Keys, String> {
        let text = read_small(&self.key)
            .map_err(|error| format!("there is no public key to check updates by: {error}"))?;
        Keys::read(&text).map_err(str::to_string)
    }
}

/// A file of keys or a signature; errors name it.
pub fn read_small(path: &Path) -> Result<String, String> {
    let fails = |error: io::Error| format!("{}: {error}", path.display());
    let mut text = String::new();
    let file = fs::File::open(path).map_err(fails)?;
    file.take(minisign::MAX_FILE as u64)
        .read_to_string(&mut text)
        .map_err(fails)?;
    Ok(text)
}

/// The whole disk of the partition that `path` is on.
fn disk_of(path: &Path) -> Result<PathBuf, String> {
    let found = fs::metadata(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let (major, minor) = (
        rustix::fs::major(found.dev()),
        rustix::fs::minor(found.dev()),
    );
    let partition = fs::canonicalize(format!("/sys/dev/block/{major}:{minor}")).ok();
    let partition = partition.filter(|it| it.join("partition").exists());
    let disk = partition.as_deref().and_then(Path::parent);
    match disk.and_then(Path::file_name) {
        Some(name) => Ok(Path::new("/dev").join(name)),
        None => Err(format!("{} is on no partition of a card", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_says_what_runs() {
        let read = |line: &str| Running::read(line).map(|it| (it.slot, it.trial));
        let line = "console=ttyS0 pillarbox.slot=b pillarbox.trial=1 panic=10\n";
        assert_eq!(read(line), Some((Slot::B, true)));
        assert_eq!(
            read("pillarbox.slot=a pillarbox.trial=0"),
            Some((Slot::A, false))
        );
        assert_eq!(read("pillarbox.slot=a"), Some((Slot::A, false)));
        assert_eq!(read("pillarbox.slot=c pillarbox.trial=1"), None);
        assert_eq!(read("xpillarbox.slot=a"), None);
    }

    #[test]
    fn a_board_file_says_the_rest() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        assert!(Board::read(&at("board")).unwrap().is_none());
        fs::write(at("cmdline"), "pillarbox.slot=a pillarbox.trial=0\n").unwrap();
        let usual = format!(
            "board=virt-arm64\nversion=0.2.0\nschema=3\ncmdline={}\n",
            at("cmdline").display()
        );
        fs::write(at("board"), &usual).unwrap();
        let board = Board::read(&at("board")).unwrap().unwrap();
        assert_eq!((board.name.as_str(), board.schema), ("virt-arm64", 3));
        assert_eq!(board.work, Path::new(WORK));
        let why = |text: String| {
            fs::write(at("board"), text).unwrap();
            Board::read(&at("board")).unwrap_err()
        };
        assert!(why(usual.replace("schema=3\n", "")).contains("does not say schema="));
        assert!(why(usual.clone() + "state=grub\n").contains("boot state"));
        assert!(why(usual.replace("/cmdline", "/none")).contains("which slot runs"));
    }
}
