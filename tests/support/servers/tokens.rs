//! A token server for docker-registry: RS256 tokens with their certificate in the header, signed by openssl.

use crate::support::http::{Reply, Request, Server};
use crate::support::run::{command, run};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// The service of the tokens; the comma is there for the client's parser.
const SERVICE: &str = "svc, with comma";
const ISSUER: &str = "regfs test issuer";

/// Gives tokens to anybody for pulling, to the user `me` for everything. Dropping it ends it.
pub struct TokenServer {
    server: Server,
    signer: Arc<Signer>,
}

struct Signer {
    directory: tempfile::TempDir,
    /// The certificate as it stands in a token's header.
    x5c: String,
    /// Seconds that a token holds; may be negative.
    life: AtomicI64,
    given: AtomicU64,
}

impl TokenServer {
    /// Starts it. The password of `me` is `secret`.
    pub fn start() -> TokenServer {
        let directory = tempfile::tempdir().expect("tempdir");
        run(command("openssl").current_dir(directory.path()).args([
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=tokens",
            "-keyout",
            "key.pem",
            "-out",
            "crt.pem",
        ]))
        .ok();
        let pem = std::fs::read_to_string(directory.path().join("crt.pem")).expect("the certificate");
        let x5c = pem.lines().filter(|line| !line.starts_with("-----")).collect();
        let signer = Arc::new(Signer { directory, x5c, life: AtomicI64::new(300), given: AtomicU64::new(0) });
        let server = {
            let signer = Arc::clone(&signer);
            Server::start(move |request| signer.answer(request))
        };
        TokenServer { server, signer }
    }

    /// Its URL, with a query of its own.
    pub fn realm(&self) -> String {
        self.server.url("/token?x=1")
    }

    /// The service that tokens are for.
    pub fn service(&self) -> &str {
        SERVICE
    }

    /// The issuer that tokens name.
    pub fn issuer(&self) -> &str {
        ISSUER
    }

    /// The certificate that the registry must know.
    pub fn certificate(&self) -> PathBuf {
        self.signer.directory.path().join("crt.pem")
    }

    /// Tokens hold so many seconds from now on. docker-registry forgives 60: one of -61 is refused.
    pub fn set_life(&self, seconds: i64) {
        self.signer.life.store(seconds, Ordering::SeqCst);
    }

    /// How many tokens were given.
    pub fn given(&self) -> u64 {
        self.signer.given.load(Ordering::SeqCst)
    }

    /// What was asked of it.
    pub fn requests(&self) -> Vec<Request> {
        self.server.requests()
    }
}

impl Signer {
    fn answer(&self, request: &Request) -> Reply {
        let owner = match request.basic() {
            None => false,
            Some((user, password)) if user == "me" && password == "secret" => true,
            Some(_) => return Reply::json(401, &json!({"details": "incorrect username or password"})),
        };
        let scopes = request.query_values("scope");
        let access: Vec<Value> =
            scopes.iter().flat_map(|scope| scope.split(' ')).filter_map(|scope| granted(scope, owner)).collect();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs() as i64;
        let life = self.life.load(Ordering::SeqCst);
        let number = self.given.fetch_add(1, Ordering::SeqCst);
        let claims = json!({
            "iss": ISSUER, "sub": if owner { "me" } else { "" }, "aud": SERVICE, "exp": now + life,
            "nbf": now + life.min(0) - 600, "iat": now, "jti": number.to_string(), "access": access,
        });
        let token = self.sign(&claims);
        Reply::json(200, &json!({"token": token, "expires_in": life.max(60)}))
    }

    fn sign(&self, claims: &Value) -> String {
        let header = json!({"typ": "JWT", "alg": "RS256", "x5c": [self.x5c]});
        let text =
            format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()));
        let file = tempfile::NamedTempFile::new_in(self.directory.path()).expect("a file");
        std::fs::write(file.path(), &text).expect("write what is to be signed");
        let key: &Path = &self.directory.path().join("key.pem");
        let signed = run(command("openssl").args(["dgst", "-sha256", "-sign"]).arg(key).arg(file.path())).ok();
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signed.out))
    }
}

/// What of a scope is granted: to others than the owner, pulling only.
fn granted(scope: &str, owner: bool) -> Option<Value> {
    let (kind, rest) = scope.split_once(':')?;
    let (name, actions) = rest.rsplit_once(':')?;
    let actions: Vec<&str> = actions.split(',').filter(|action| owner || *action == "pull").collect();
    Some(json!({"type": kind, "name": name, "actions": actions}))
}
