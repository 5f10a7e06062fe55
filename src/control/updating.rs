//! What was done about the appliance's version, for the audit log: it is done beside the server,
//! which could not.

/// Told by `pillarbox update`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Updating {
    /// `install`, `confirm` or `back`.
    pub what: String,
    /// Of the version that it is about.
    pub version: String,
}

const WHAT: [&str; 3] = ["install", "confirm", "back"];

impl Updating {
    /// The request's words.
    pub fn words(&self) -> Vec<String> {
        vec![format!("update-{}", self.what), self.version.clone()]
    }

    /// `None` if it is no request of these.
    pub fn read(words: &[&str]) -> Option<Result<Updating, String>> {
        let [what, version] = words else { return None };
        let what = what.strip_prefix("update-")?;
        WHAT.contains(&what).then(|| {
            Ok(Updating {
                what: what.to_string(),
                version: version.to_string(),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_is_read_as_it_was_written() {
        for what in WHAT {
            let request = Updating {
                what: what.to_string(),
                version: "0.2.0".to_string(),
            };
            let words = request.words();
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            assert_eq!(Updating::read(&words), Some(Ok(request)));
        }
        assert_eq!(Updating::read(&["update-erase", "0.2.0"]), None);
        assert_eq!(Updating::read(&["update-back"]), None);
    }
}
