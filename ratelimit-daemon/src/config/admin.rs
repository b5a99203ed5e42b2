//! The section `admin`: where operators ask a running daemon.

use crate::document::Section;
use std::path::{Path, PathBuf};

const DEFAULT_SOCKET: &str = "/run/ratelimitd/admin.sock";

/// Where operators ask a running daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// The unix socket; none: nobody can ask. Relative in the configuration file, it starts at that file's directory.
    pub socket: Option<PathBuf>,
}

pub(super) fn decode(section: &Section<'_>, directory: &Path) -> Admin {
    let socket = section.or("socket", DEFAULT_SOCKET, |field| field.text());
    Admin { socket: Some(socket).filter(|socket| !socket.is_empty()).map(|socket| directory.join(socket)) }
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
}
