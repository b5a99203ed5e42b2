//! The section `admin`: where operators ask a running daemon.

use crate::document::{Field, Refused, Section};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

const DEFAULT_SOCKET: &str = "/run/ratelimitd/admin.sock";
const DEFAULT_TOKEN_FILE: &str = "/var/lib/ratelimitd/admin.token";

/// Where operators ask a running daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// The unix socket; none: nobody can ask there. Relative in the configuration file, it starts at that file's
    /// directory.
    pub socket: Option<PathBuf>,
    /// Where the dashboard and the metrics are; none: nowhere.
    pub listen: Option<SocketAddr>,
    /// Holds the token that whoever asks there has to know. Made by the first start.
    pub token_file: PathBuf,
    /// Names by which a browser may call the listener, in lower letters.
    pub hosts: Vec<String>,
    /// Whether those who know the token may change something, or only look.
    pub controls: bool,
}

pub(super) fn decode(section: &Section<'_>, directory: &Path) -> Admin {
    let socket = section.or("socket", DEFAULT_SOCKET, |field| field.text());
    let listen = section.or("listen", None, |field| match field.text()? {
        "" => Ok(None),
        _ => field.parsed(address).map(Some),
    });
    let token_file = section.or("token_file", DEFAULT_TOKEN_FILE, file);
    Admin {
        socket: Some(socket).filter(|socket| !socket.is_empty()).map(|socket| directory.join(socket)),
        listen,
        token_file: directory.join(token_file),
        hosts: section.or("hosts", Vec::new(), |field| field.each_once(|item| item.parsed(host))),
        controls: section.or("controls", false, Field::boolean),
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| format!("{text:?} is not an address; write one such as \"127.0.0.1:9090\""))
}

fn file<'a>(field: &Field<'a>) -> Result<&'a str, Refused> {
    match field.text()? {
        "" => Err(field.refuse("empty; write the path of the token's file")),
        text => Ok(text),
    }
}

fn host(text: &str) -> Result<String, String> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
    match !text.is_empty() && text.bytes().all(is_allowed) {
        true => Ok(text.to_ascii_lowercase()),
        false => {
            Err(format!("{text:?} is not a host's name; write it without a port, such as \"ops.example\""))
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::tests::{parse, with};
    use std::path::Path;

    #[test]
    fn the_socket_is_where_it_is_said_to_be_or_nowhere() {
        let socket = |more| parse(&with(more)).unwrap().admin.socket;
        assert_eq!(socket("").as_deref(), Some(Path::new("/run/ratelimitd/admin.sock")));
        assert_eq!(socket("[admin]\nsocket = 'a.sock'").as_deref(), Some(Path::new("/etc/a.sock")));
        assert_eq!(socket("[admin]\nsocket = ''"), None);
    }

    #[test]
    fn there_is_a_listener_only_where_one_is_asked_for() {
        let admin = |more| parse(&with(more)).unwrap().admin;
        assert_eq!((admin("").listen, admin("[admin]\nlisten = ''").listen), (None, None));
        let set = admin("[admin]\nlisten = '127.0.0.1:9090'\nhosts = ['Ops.Example']");
        assert_eq!((set.listen, set.hosts), ("127.0.0.1:9090".parse().ok(), vec!["ops.example".to_owned()]));
        for (wrong, told) in [
            ("listen = 'localhost'", "is not an address"),
            ("token_file = ''", "empty"),
            ("hosts = ['ops.example:80']", "is not a host's name"),
        ] {
            let error = parse(&with(&format!("[admin]\n{wrong}"))).unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
    }
}
