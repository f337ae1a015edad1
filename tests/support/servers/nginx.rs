//! nginx as what stands before registries: object store, TLS front, gzip front, rate limit.

use super::process::Process;
use super::tls::Authority;
use crate::support::run::command;
use std::path::Path;

/// A running nginx.
pub struct Nginx {
    process: Process,
    directory: tempfile::TempDir,
    scheme: &'static str,
}

impl Nginx {
    /// Serves a directory with ranges, as an object store does.
    pub fn files(root: &Path) -> Nginx {
        Nginx::start("http", "", &format!("root {}; location / {{ autoindex off; }}", root.display()))
    }

    /// Stands before a registry (`127.0.0.1:PORT`) and compresses what it answers.
    pub fn gzip(to: &str) -> Nginx {
        let server = format!("gzip on; gzip_types *; gzip_proxied any; gzip_min_length 1; {}", proxy(to));
        Nginx::start("http", "", &server)
    }

    /// Stands before a registry with TLS, under a certificate of `authority`.
    pub fn tls(to: &str, authority: &Authority) -> Nginx {
        let (certificate, key) = authority.server();
        let server =
            format!("ssl_certificate {}; ssl_certificate_key {}; {}", certificate.display(), key.display(), proxy(to));
        Nginx::start("https", "", &server)
    }

    /// The same, for clients with a certificate of `authority` only.
    pub fn mutual_tls(to: &str, authority: &Authority) -> Nginx {
        let (certificate, key) = authority.server();
        let server = format!(
            "ssl_certificate {}; ssl_certificate_key {}; ssl_client_certificate {}; ssl_verify_client on; {}",
            certificate.display(),
            key.display(),
            authority.ca().display(),
            proxy(to)
        );
        Nginx::start("https", "", &server)
    }

    /// Stands before a registry and answers 429 to more than `rate` requests a second after `burst` of them.
    /// With `retry_after`, the answer says to wait a second.
    pub fn limited(to: &str, rate: u32, burst: u32, retry_after: bool) -> Nginx {
        let http = format!("limit_req_zone $server_name zone=all:1m rate={rate}r/s;");
        let after = if retry_after { "location @slow { add_header Retry-After 1 always; return 429; }" } else { "" };
        let page = if retry_after { "error_page 429 @slow;" } else { "" };
        let server =
            format!("limit_req zone=all burst={burst} nodelay; limit_req_status 429; {page} {after} {}", proxy(to));
        Nginx::start("http", &http, &server)
    }

    /// Any configuration: directives of `http`, directives of the one `server`, `listen` excepted.
    pub fn start(scheme: &'static str, http: &str, server: &str) -> Nginx {
        let directory = tempfile::tempdir().expect("tempdir");
        let at = directory.path().display().to_string();
        let ssl = if scheme == "https" { " ssl" } else { "" };
        let process = Process::start(directory.path(), "nginx", "/", |port| {
            let text = format!(
                // One process, of the user who started it: the files of tests are private.
                "daemon off; master_process off; pid {at}/nginx.pid; error_log {at}/error.log;\n\
                 events {{ worker_connections 512; }}\n\
                 http {{\n  access_log {at}/access.log; default_type application/octet-stream; sendfile on;\n  \
                 client_max_body_size 0; client_body_temp_path {at}/body; proxy_temp_path {at}/proxy;\n  \
                 fastcgi_temp_path {at}/fastcgi; uwsgi_temp_path {at}/uwsgi; scgi_temp_path {at}/scgi;\n  {http}\n  \
                 server {{ listen 127.0.0.1:{port}{ssl}; server_name localhost; {server} }}\n}}\n"
            );
            std::fs::write(directory.path().join("nginx.conf"), text).expect("write the configuration");
            let mut nginx = command("nginx");
            nginx.args(["-p", &at, "-c", "nginx.conf", "-e", "startup.log"]);
            nginx
        });
        Nginx { process, directory, scheme }
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.process.port())
    }

    /// The URL of a path on it.
    pub fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.host())
    }

    /// Its access log: one line for each request.
    pub fn access_log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("access.log")).unwrap_or_default()
    }
}

fn proxy(to: &str) -> String {
    format!(
        "location / {{ proxy_pass http://{to}; proxy_set_header Host $http_host; proxy_http_version 1.1; \
         proxy_set_header X-Forwarded-Proto $scheme; proxy_buffering off; }}"
    )
}
