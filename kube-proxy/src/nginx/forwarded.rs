//! How requests are passed on, whatever leads them.

use std::collections::HashMap;

/// Of the upstreams that have somebody, by name.
pub(super) type Numbers<'a> = HashMap<&'a str, usize>;

/// What every request gets, `$` meant as nginx does, and what no client may say of itself. A location with headers of its
/// own has to say these again.
pub(super) const FORWARDED: &str = "    proxy_set_header Host $http_host;
    proxy_set_header Connection $upgrading;
    proxy_set_header Upgrade $upgraded;
    proxy_set_header X-Real-IP $remote_addr;
    proxy_set_header X-Forwarded-For $remote_addr;
    proxy_set_header X-Forwarded-Host $http_host;
    proxy_set_header X-Forwarded-Proto $scheme;
    proxy_set_header X-Forwarded-Port \"\";
    proxy_set_header X-Forwarded-Prefix \"\";
    proxy_set_header Forwarded \"\";
";

/// What `$upgrading` and `$upgraded` are: whoever wants WebSocket gets it, if who answers has it. By another protocol (`h2c`)
/// further requests would come unseen, past all paths.
pub(super) const UPGRADES: &str =
    "    map $http_upgrade $upgrading { default close; \"~*\\Awebsocket\\z\" upgrade; }
    map $http_upgrade $upgraded { default \"\"; \"~*\\Awebsocket\\z\" $http_upgrade; }
";

/// Nobody answers where no connection was made, and whoever breaks one off is a bad gateway.
pub(super) const UNREACHED: &str = "        error_page 502 @unreached;
        location @unreached {
            if ($upstream_connect_time ~ \"^[-, ]*$\") { return 503; }
            return 502;
        }
";
