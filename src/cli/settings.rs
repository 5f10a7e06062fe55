//! `pillarbox settings`.

use super::{Error, change, data_dir, print_table};
use crate::control::{self, Choosing, Request};
use crate::settings::connections::{Side, connections};
use crate::settings::document::{self, Chosen, MAX_LENGTH};
use crate::settings::{SETTINGS, Setting, Settings, find};
use argh::FromArgs;
use jiff::Timestamp;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Look at settings and change them, of the running server too.
#[derive(FromArgs)]
#[argh(subcommand, name = "settings")]
pub struct SettingsCommand {
    /// data directory (default /var/lib/pillarbox)
    #[argh(option)]
    dir: Option<PathBuf>,
    #[argh(subcommand)]
    action: Action,
}

#[derive(FromArgs)]
#[argh(subcommand)]
enum Action {
    List(List),
    Get(Get),
    Set(Set),
    Reset(Reset),
    Edit(Edit),
    Export(Export),
    Import(Import),
    Changes(Changes),
    Connections(Connections),
}

/// Print the settings: value, where it comes from, range, meaning.
#[derive(FromArgs)]
#[argh(subcommand, name = "list")]
struct List {
    /// only those whose name begins so: imap
    #[argh(positional)]
    beginning: Option<String>,
}

/// Print the value of one.
#[derive(FromArgs)]
#[argh(subcommand, name = "get")]
struct Get {
    /// its name, as `settings list` prints it
    #[argh(positional)]
    name: String,
}

/// Set one, or several at one moment: NAME VALUE, NAME VALUE and so on.
#[derive(FromArgs)]
#[argh(subcommand, name = "set")]
struct Set {
    /// its name, as `settings list` prints it, and what it shall be
    #[argh(positional, arg_name = "name value")]
    pairs: Vec<String>,
}

/// Give one its default back, or several at one moment.
#[derive(FromArgs)]
#[argh(subcommand, name = "reset")]
struct Reset {
    /// its name, as `settings list` prints it
    #[argh(positional, arg_name = "name")]
    names: Vec<String>,
}

/// Change all of them in an editor (VISUAL, EDITOR or vi).
#[derive(FromArgs)]
#[argh(subcommand, name = "edit")]
struct Edit {}

/// Print all of them as a TOML file.
#[derive(FromArgs)]
#[argh(subcommand, name = "export")]
struct Export {}

/// Read all of them from a TOML file; what it does not name gets its default.
#[derive(FromArgs)]
#[argh(subcommand, name = "import")]
struct Import {
    /// the file (default: standard input)
    #[argh(positional)]
    file: Option<PathBuf>,
}

/// Print who changed what and when.
#[derive(FromArgs)]
#[argh(subcommand, name = "changes")]
struct Changes {}

/// Print what mail programs have to be told: host, port and encryption of each service.
#[derive(FromArgs)]
#[argh(subcommand, name = "connections")]
struct Connections {}

impl SettingsCommand {
    pub fn run(self) -> Result<(), Error> {
        let dir = data_dir(self.dir);
        match self.action {
            Action::List(list) => print(&dir, list.beginning.as_deref().unwrap_or("")),
            Action::Get(get) => {
                let wanted = find(&get.name)?.name;
                let row = rows(&dir)?
                    .into_iter()
                    .find(|row| row.setting.name == wanted);
                say!("{}", row.map(|it| it.value).unwrap_or_default());
                Ok(())
            }
            Action::Set(Set { pairs }) => {
                if pairs.is_empty() || pairs.len() % 2 != 0 {
                    return Err("settings set takes a name and a value, or more such pairs".into());
                }
                let pairs = pairs.chunks_exact(2);
                let chosen: Chosen = pairs.map(|it| (it[0].clone(), it[1].clone())).collect();
                let done = done(chosen.keys())?;
                change(Some(dir), Request::Choosing(Choosing::Set(chosen)), &done)
            }
            Action::Reset(Reset { names }) => {
                let done = done(names.iter())?;
                change(Some(dir), Request::Choosing(Choosing::Reset(names)), &done)
            }
            Action::Edit(_) => edit(&dir),
            Action::Export(_) => {
                say!("{}", export(&dir)?.trim_end());
                Ok(())
            }
            Action::Import(import) => replace(&dir, &read(import.file.as_deref())?),
            Action::Changes(_) => changes(&dir),
            Action::Connections(_) => print_connections(&dir),
        }
    }
}

struct Row {
    setting: &'static Setting,
    value: String,
    from: String,
    /// What the store has; empty if nothing.
    chosen: String,
}

fn rows(dir: &Path) -> Result<Vec<Row>, Error> {
    let rows = control::ask(dir, Request::Choosing(Choosing::List))?;
    let row = |row: Vec<String>| {
        let [name, value, from, chosen] = <[String; 4]>::try_from(row).ok()?;
        let setting = find(&name).ok()?;
        Some(Row {
            setting,
            value,
            from,
            chosen,
        })
    };
    // A server of another version may have others.
    Ok(rows.into_iter().filter_map(row).collect())
}

/// As the server has them now, or would have them.
pub(super) fn in_force(dir: &Path) -> Result<Settings, Error> {
    let mut settings = Settings::of_this_machine();
    for row in rows(dir)? {
        match row.setting.name {
            // A machine may have a name that nobody could set.
            "server.hostname" => settings.hostname = row.value,
            _ => row.setting.set(&mut settings, &row.value)?,
        }
    }
    Ok(settings)
}

fn print_connections(dir: &Path) -> Result<(), Error> {
    let settings = in_force(dir)?;
    let all = connections(&settings);
    let rows: Vec<Vec<String>> = all
        .iter()
        .map(|it| {
            vec![
                it.side.to_string(),
                it.service.into(),
                it.host.clone(),
                it.port.to_string(),
                it.encryption.to_string(),
            ]
        })
        .collect();
    print_table(&["FROM", "SERVICE", "HOST", "PORT", "ENCRYPTION"], &rows);
    if !all.iter().any(|it| it.side == Side::External) {
        say!("\nFor mail programs elsewhere: pillarbox settings set external.hostname NAME");
    }
    Ok(())
}

fn print(dir: &Path, beginning: &str) -> Result<(), Error> {
    let rows: Vec<Vec<String>> = rows(dir)?
        .into_iter()
        .filter(|row| row.setting.name.starts_with(beginning))
        .map(|row| {
            let setting = row.setting;
            let mut meaning = setting.meaning.to_string();
            if !setting.source.is_empty() {
                meaning = format!("{meaning} ({})", setting.source);
            }
            vec![
                setting.name.into(),
                row.value,
                row.from,
                setting.range(),
                meaning,
            ]
        })
        .collect();
    if rows.is_empty() {
        return Err(format!("no setting begins with {beginning}").into());
    }
    print_table(&["SETTING", "VALUE", "FROM", "RANGE", "MEANING"], &rows);
    Ok(())
}

fn done<'a>(names: impl Iterator<Item = &'a String>) -> Result<String, Error> {
    let mut lines = Vec::new();
    for name in names {
        let setting = find(name)?;
        lines.push(format!("{} is set.", setting.name));
    }
    match lines.is_empty() {
        true => Err("say which: `pillarbox settings list` shows them".into()),
        false => Ok(lines.join("\n")),
    }
}

fn export(dir: &Path) -> Result<String, Error> {
    let rows = rows(dir)?.into_iter().filter(|row| !row.chosen.is_empty());
    let chosen: Chosen = rows
        .map(|row| (row.setting.name.to_string(), row.chosen))
        .collect();
    Ok(document::write(&chosen, &Settings::of_this_machine()))
}

fn read(file: Option<&Path>) -> Result<String, Error> {
    let mut text = String::new();
    let most = MAX_LENGTH as u64 + 1;
    let Some(file) = file else {
        std::io::stdin().take(most).read_to_string(&mut text)?;
        return Ok(text);
    };
    let told = |error| format!("{}: {error}", file.display());
    let mut opened = File::open(file).map_err(told)?.take(most);
    opened.read_to_string(&mut text).map_err(told)?;
    Ok(text)
}

/// Nothing changes if anything in it is wrong.
fn replace(dir: &Path, text: &str) -> Result<(), Error> {
    let chosen = document::read(text, &Settings::of_this_machine())?;
    let count = chosen.len();
    let request = Request::Choosing(Choosing::Replace(chosen));
    change(
        Some(dir.to_path_buf()),
        request,
        &format!(
            "The settings are read; {count} of {} are not at their default.",
            SETTINGS.len()
        ),
    )
}

fn edit(dir: &Path) -> Result<(), Error> {
    let before = export(dir)?;
    let mut file = tempfile::Builder::new().suffix(".toml").tempfile()?;
    file.write_all(before.as_bytes())?;
    let editor = ["VISUAL", "EDITOR"].into_iter().find_map(std::env::var_os);
    let editor = editor.unwrap_or_else(|| "vi".into());
    loop {
        // An editor may come with options, so the shell takes it apart.
        let ran = Command::new("sh")
            .arg("-c")
            .arg("exec $0 \"$1\"")
            .arg(&editor)
            .arg(file.path())
            .status()?;
        if !ran.success() {
            return Err(format!("{}: {ran}; nothing was changed", editor.display()).into());
        }
        let after = fs::read_to_string(file.path())?;
        if after == before {
            say!("Nothing was changed.");
            return Ok(());
        }
        match replace(dir, &after) {
            Err(error) => {
                eprintln!("pillarbox: {error}");
                if !again()? {
                    return Err("nothing was changed".into());
                }
            }
            done => return done,
        }
    }
}

fn again() -> Result<bool, Error> {
    eprint!("Edit it again? [Y/n] ");
    let mut line = String::new();
    let read = std::io::stdin().read_line(&mut line)?;
    Ok(read > 0 && !line.trim().to_lowercase().starts_with('n'))
}

fn changes(dir: &Path) -> Result<(), Error> {
    let rows = control::ask(dir, Request::Choosing(Choosing::Changes))?;
    let shown = |value: &str| match value {
        "" => "(default)".to_string(),
        value => value.to_string(),
    };
    let row = |row: Vec<String>| {
        let [at, who, name, before, after] = <[String; 5]>::try_from(row).ok()?;
        let at = Timestamp::from_second(at.parse().ok()?).ok()?;
        Some(vec![
            at.to_string(),
            who,
            name,
            shown(&before),
            shown(&after),
        ])
    };
    let rows: Vec<Vec<String>> = rows.into_iter().filter_map(row).collect();
    print_table(&["WHEN", "WHO", "SETTING", "BEFORE", "AFTER"], &rows);
    Ok(())
}
