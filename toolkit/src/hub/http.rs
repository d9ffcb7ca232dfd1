//! HTTP requests to the hub.

use super::Settings;
use super::cache::RepositoryKind;
use crate::Error;
use serde::Deserialize;
use std::path::Path;
use std::time::Duration;
use ureq::http::{Method, Response, StatusCode, Uri, header};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body};

pub(super) struct Client {
    agent: Agent,
    endpoint: Uri,
    token: Option<String>,
}

/// Commit of a repository, with its files.
pub(super) struct Listing {
    pub commit: String,
    pub files: Vec<Listed>,
}

pub(super) struct Listed {
    pub name: String,
    /// Hash of the file, if the listing contains one.
    pub hash: Option<Hash>,
}

/// Hash by which the hub identifies a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Hash {
    /// SHA-256 of the content, for large files.
    Sha256(String),
    /// Hash of the git object, for small files.
    Git(String),
}

impl Hash {
    /// Parses a hash; its length gives the kind.
    fn parse(hex: &str) -> Option<Self> {
        let hex = hex.to_ascii_lowercase();
        match (hex.bytes().all(|b| b.is_ascii_hexdigit()), hex.len()) {
            (true, 64) => Some(Hash::Sha256(hex)),
            (true, 40) => Some(Hash::Git(hex)),
            _ => None,
        }
    }

    pub(super) fn hex(&self) -> &str {
        match self {
            Hash::Sha256(hex) | Hash::Git(hex) => hex,
        }
    }
}

#[derive(Deserialize)]
struct Answer {
    sha: String,
    #[serde(default)]
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sibling {
    rfilename: String,
    blob_id: Option<String>,
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    sha256: String,
}

/// Maximum number of redirects; more indicate a circle.
const REDIRECTS: usize = 8;

impl Client {
    pub(super) fn new(settings: &Settings) -> Result<Self, Error> {
        let address = settings.endpoint.trim().trim_end_matches('/');
        let endpoint = address
            .parse::<Uri>()
            .ok()
            .filter(|u| matches!(u.scheme_str(), Some("http" | "https")) && u.host().is_some())
            .ok_or_else(|| {
                Error::hub(address, "HF_ENDPOINT is not an address such as https://huggingface.co")
            })?;
        // Redirects are followed by this client, which withholds the token from other hosts.
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("edge-toolkit/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(Duration::from_secs(20)))
            .timeout_per_read(Some(Duration::from_secs(60)));
        // Servers on this machine are unreachable through a proxy.
        let config = match endpoint.host() {
            Some("localhost" | "127.0.0.1" | "[::1]") => config.proxy(None),
            _ => config,
        };
        let config = match &settings.certificates {
            Some(path) if !settings.offline => {
                config.tls_config(TlsConfig::builder().root_certs(certificates(path)?).build())
            }
            _ => config,
        };
        let agent = Agent::new_with_config(config.build());
        Ok(Client { agent, endpoint, token: settings.token.clone() })
    }

    /// Lists the files of a repository.
    pub(super) fn listing(&self, kind: RepositoryKind, name: &str) -> Result<Listing, Error> {
        let kinds = match kind {
            RepositoryKind::Model => "models",
            RepositoryKind::Dataset => "datasets",
        };
        let url = format!("{}/api/{kinds}/{name}/revision/main?blobs=true", self.base());
        let (_, mut response) = self.ask(name, &Method::GET, &url, 0)?;
        let odd = |why: String| {
            Error::hub(name, format!("the answer of {} is not a list of files: {why}", self.base()))
        };
        let text = response
            .body_mut()
            .with_config()
            .limit(64 << 20)
            .read_to_string()
            .map_err(|e| odd(e.to_string()))?;
        let answer: Answer = serde_json::from_str(&text).map_err(|e| odd(e.to_string()))?;
        if answer.sha.is_empty() || !answer.sha.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(odd(format!("the commit is `{}`", answer.sha)));
        }
        let mut files = Vec::new();
        for sibling in answer.siblings {
            // The names become paths on this machine.
            let is_plain =
                |part: &str| !matches!(part, "" | "." | "..") && !part.contains(['\\', ':', '\0']);
            if !sibling.rfilename.split('/').all(is_plain) {
                return Err(odd(format!("the file name `{}`", sibling.rfilename)));
            }
            let hash = sibling.lfs.map(|lfs| lfs.sha256).or(sibling.blob_id);
            let hash = hash.as_deref().and_then(Hash::parse);
            files.push(Listed { name: sibling.rfilename, hash });
        }
        Ok(Listing { commit: answer.sha, files })
    }

    /// Address of a file.
    pub(super) fn address(
        &self,
        kind: RepositoryKind,
        name: &str,
        commit: &str,
        file: &str,
    ) -> String {
        let kinds = match kind {
            RepositoryKind::Model => "",
            RepositoryKind::Dataset => "datasets/",
        };
        format!("{}/{kinds}{name}/resolve/{commit}/{}", self.base(), encoded(file))
    }

    /// Hash of a file from the header of a response, for servers that list no hashes.
    pub(super) fn hash(&self, what: &str, url: &str) -> Result<Hash, Error> {
        let (etag, _) = self.ask(what, &Method::HEAD, url, 0)?;
        etag.as_deref()
            .and_then(Hash::parse)
            .ok_or_else(|| Error::hub(what, "the hub sent no hash, so the file cannot be checked"))
    }

    /// Requests a file from a byte on. The server may send the whole file (status 200 instead of
    /// 206), or report that the byte is beyond the end (416).
    pub(super) fn get(&self, what: &str, url: &str, from: u64) -> Result<Response<Body>, Error> {
        Ok(self.ask(what, &Method::GET, url, from)?.1)
    }

    /// Sends a request and follows redirects. Also returns the tag of the file from the endpoint,
    /// because redirect targets have other tags.
    fn ask(
        &self,
        what: &str,
        method: &Method,
        url: &str,
        from: u64,
    ) -> Result<(Option<String>, Response<Body>), Error> {
        let mut url: Uri =
            url.parse().map_err(|e| Error::hub(what, format!("{url} is no address: {e}")))?;
        let mut tag = None;
        for _ in 0..REDIRECTS {
            let is_ours = self.is_endpoint(&url);
            let mut request = ureq::http::Request::builder().method(method).uri(&url);
            if let Some(token) = self.token.as_ref().filter(|_| is_ours) {
                request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
            }
            if from > 0 {
                request = request.header(header::RANGE, format!("bytes={from}-"));
            }
            let host = url.host().unwrap_or_default().to_string();
            let request = request.body(()).map_err(|e| Error::hub(what, e.to_string()))?;
            let response = self.agent.run(request).map_err(|e| {
                Error::hub(
                    what,
                    format!(
                        "{host} cannot be reached: {e}. What is in the cache already can be used \
                         with HF_HUB_OFFLINE=1"
                    ),
                )
            })?;
            if is_ours {
                let head = |name: &str| response.headers().get(name)?.to_str().ok();
                let found = head("x-linked-etag").or_else(|| head("etag"));
                tag = found.map(|t| t.trim_start_matches("W/").trim_matches('"').into()).or(tag);
            }
            let status = response.status();
            if !status.is_redirection() {
                return match status {
                    StatusCode::OK | StatusCode::PARTIAL_CONTENT => Ok((tag, response)),
                    StatusCode::RANGE_NOT_SATISFIABLE if from > 0 => Ok((tag, response)),
                    _ => Err(Error::hub(what, self.refusal(status, &host))),
                };
            }
            // The response before the first redirect to another host already has the tag.
            if method == Method::HEAD && tag.as_deref().and_then(Hash::parse).is_some() {
                return Ok((tag, response));
            }
            let next = response.headers().get(header::LOCATION).and_then(|l| l.to_str().ok());
            url = next.and_then(|next| redirected(&url, next)).ok_or_else(|| {
                let next = next.unwrap_or("nowhere");
                Error::hub(what, format!("{host} redirects to {next}, which is not followed"))
            })?;
        }
        Err(Error::hub(what, format!("redirected {REDIRECTS} times without reaching a file")))
    }

    fn refusal(&self, status: StatusCode, host: &str) -> String {
        let base = self.base();
        let said = format!("{host} answers {status}");
        match status.as_u16() {
            401 if self.token.is_none() => format!(
                "{said}: there is nothing of this name, or it is private. Check the name; if it is \
                 right, set HF_TOKEN to a token of an account that may read it ({base}/settings/tokens)"
            ),
            401 => format!(
                "{said}: the token (HF_TOKEN, or the one of `hf auth login`) is not valid, or may \
                 not read this; make another at {base}/settings/tokens"
            ),
            403 => format!(
                "{said}: the account may not read this. If it is gated, accept its conditions on \
                 its page at {base}, and set HF_TOKEN to a token of that account"
            ),
            404 => format!("{said}: there is nothing of this name. Check the name at {base}"),
            429 => format!("{said}: too many requests; wait a few minutes, or set HF_TOKEN"),
            500.. => format!("{said}: the server has a problem; try again later"),
            _ => said,
        }
    }

    fn base(&self) -> String {
        self.endpoint.to_string().trim_end_matches('/').into()
    }

    fn is_endpoint(&self, url: &Uri) -> bool {
        let origin =
            |u: &Uri| (u.scheme_str().map(str::to_string), u.host().map(str::to_lowercase));
        origin(url) == origin(&self.endpoint) && port(url) == port(&self.endpoint)
    }
}

fn certificates(path: &Path) -> Result<RootCerts, Error> {
    let pem = std::fs::read(path).map_err(|e| Error::io(path, e))?;
    let found: Vec<_> = parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if found.is_empty() {
        return Err(Error::hub(
            path.to_string_lossy(),
            "contains no certificate in PEM; correct SSL_CERT_FILE or REQUESTS_CA_BUNDLE",
        ));
    }
    Ok(found.into())
}

fn port(url: &Uri) -> Option<u16> {
    url.port_u16().or(match url.scheme_str() {
        Some("https") => Some(443),
        Some("http") => Some(80),
        _ => None,
    })
}

/// Target of a redirect; `None` if it has less protection.
fn redirected(from: &Uri, to: &str) -> Option<Uri> {
    let to: Uri = if to.starts_with("//") {
        format!("{}:{to}", from.scheme_str()?).parse().ok()?
    } else if to.starts_with('/') {
        format!("{}://{}{to}", from.scheme_str()?, from.authority()?).parse().ok()?
    } else {
        to.parse().ok()?
    };
    match (from.scheme_str()?, to.scheme_str()?) {
        (_, "https") | ("http", "http") => Some(to),
        _ => None,
    }
}

/// Percent-encoded path.
fn encoded(path: &str) -> String {
    path.bytes().fold(String::new(), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || b"/._-~".contains(&byte) {
            text.push(byte.into());
        } else {
            text += &format!("%{byte:02X}");
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(endpoint: &str, certificates: Option<&Path>) -> Result<Client, Error> {
        Client::new(&Settings {
            endpoint: endpoint.into(),
            token: None,
            cache: "".into(),
            certificates: certificates.map(Path::to_path_buf),
            offline: false,
            progress: false,
        })
    }

    #[test]
    fn redirects_keep_or_better_the_protection() {
        let from: Uri = "https://h.co/a/b".parse().unwrap();
        assert_eq!(redirected(&from, "/c?d=1").unwrap(), "https://h.co/c?d=1");
        assert_eq!(redirected(&from, "//k.co/c").unwrap(), "https://k.co/c");
        assert_eq!(redirected(&from, "https://cdn.co/x").unwrap(), "https://cdn.co/x");
        assert!(redirected(&from, "http://cdn.co/x").is_none());
        assert!(redirected(&from, "file:///etc/x").is_none());
    }

    #[test]
    fn the_endpoint_is_scheme_host_and_port() {
        let client = client("https://h.co/", None).unwrap();
        let is = |url: &str| client.is_endpoint(&url.parse().unwrap());
        assert!(is("https://h.co/a") && is("https://H.co:443/a"));
        assert!(!is("http://h.co/a") && !is("https://h.co:444/a") && !is("https://x.h.co/a"));
    }

    #[test]
    fn an_endpoint_has_a_scheme() {
        for address in ["huggingface.co/x", "ftp://h.co", "", "https://"] {
            assert!(client(address, None).is_err(), "{address}");
        }
    }

    #[test]
    fn addresses_are_encoded() {
        let client = client("https://h.co", None).unwrap();
        let url = client.address(RepositoryKind::Dataset, "a/b", "c0", "d e/f#1.csv");
        assert_eq!(url, "https://h.co/datasets/a/b/resolve/c0/d%20e/f%231.csv");
    }

    #[test]
    fn a_file_without_certificates_is_an_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = client("https://h.co", Some(file.path())).err().unwrap().to_string();
        assert!(error.contains("no certificate"), "{error}");
        assert!(client("https://h.co", Some(Path::new("none.pem"))).is_err());
    }
}
