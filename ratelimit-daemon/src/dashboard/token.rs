//! The token of the dashboard's listener: who knows it may ask.

use crate::keys::PlainKey;
use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};
use std::fmt::{self, Write as _};
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use subtle::ConstantTimeEq;
use tracing::info;

/// Fewer characters could be guessed.
const LEAST: usize = 20;

/// Only hashes of what it opens to: the token is in its file.
pub(super) struct Token {
    token: [u8; 32],
    /// Of what a browser keeps once its user has shown the token.
    session: [u8; 32],
    cookie: String,
}

impl fmt::Debug for Token {
    /// Not the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

impl Token {
    /// The token in the file at `path`; one is drawn if there is no such file. Errors: others may read it, it is short.
    pub(super) fn load(path: &Path) -> Result<Self> {
        let shown = path.display();
        match draw(path) {
            Ok(()) => info!("{shown} did not exist: created, with a token for the dashboard"),
            Err(error) if error.downcast_ref().is_some_and(is_there) => {}
            Err(error) => return Err(error.context(format!("admin.token_file: cannot create {shown}"))),
        }
        let told = || format!("admin.token_file: cannot read {shown}");
        let mode = fs::metadata(path).with_context(told)?.permissions().mode();
        if mode & 0o007 != 0 {
            bail!("admin.token_file: everybody may read {shown}; run `chmod o= {shown}`");
        }
        let text = fs::read_to_string(path).with_context(told)?;
        let token = text.trim();
        if token.len() < LEAST {
            bail!(
                "admin.token_file: {shown} has fewer than {LEAST} characters; remove it and another is drawn"
            );
        }
        Ok(Self::new(token))
    }

    /// This token.
    pub(super) fn new(token: &str) -> Self {
        let mut cookie = String::new();
        for byte in digest(&["a browser's session of ", token].concat()) {
            // Writing to a string does not fail.
            let _ = write!(cookie, "{byte:02x}");
        }
        Self { token: digest(token), session: digest(&cookie), cookie }
    }

    /// Whether `presented` is the token. Takes as long whatever is presented.
    pub(super) fn is(&self, presented: &str) -> bool {
        digest(presented).ct_eq(&self.token).into()
    }

    /// Whether `presented` is what a browser keeps.
    pub(super) fn is_session(&self, presented: &str) -> bool {
        digest(presented).ct_eq(&self.session).into()
    }

    /// What a browser keeps. It is as good as the token here, and good for nothing else.
    pub(super) fn session(&self) -> &str {
        &self.cookie
    }
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

fn is_there(error: &std::io::Error) -> bool {
    error.kind() == ErrorKind::AlreadyExists
}

/// Makes the file with a new token.
fn draw(path: &Path) -> Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    writeln!(file, "{}", PlainKey::generate()?.reveal().replacen("rl_", "admin_", 1))?;
    Ok(file.sync_all()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_start_draws_it_and_the_next_finds_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("admin.token");
        let token = Token::load(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let text = fs::read_to_string(&path).unwrap();
        assert!(token.is(text.trim()) && !token.is("") && !token.is(token.session()));
        assert!(token.is_session(token.session()) && !token.is_session(text.trim()));
        assert_eq!(Token::load(&path).unwrap().session(), token.session());
    }

    #[test]
    fn a_token_that_all_may_read_or_that_is_short_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("admin.token");
        let load = |mode, text: &str| {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            Token::load(&path).map_err(|error| error.to_string())
        };
        assert!(load(0o644, "0123456789012345678901234").unwrap_err().contains("everybody may read"));
        assert!(load(0o640, "0123456789012345678901234\n").unwrap().is("0123456789012345678901234"));
        assert!(load(0o600, "secret\n").unwrap_err().contains("fewer than"));
    }
}
