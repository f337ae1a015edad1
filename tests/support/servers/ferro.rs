//! ferro-oci-server, in process: a real registry with nearly the opposite quirks of docker-registry (no Range, Link
//! paging of tags, referrers, no authentication, blobs global).

use std::net::{SocketAddr, TcpListener};
use tokio::runtime::Runtime;

/// A running ferro-oci-server, in memory.
pub struct Ferro {
    address: SocketAddr,
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
}

impl Ferro {
    /// Starts it, empty.
    pub fn start() -> Ferro {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime for ferro");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free loopback port");
        let address = listener.local_addr().expect("address of the listener");
        listener.set_nonblocking(true).expect("nonblocking");
        let config = ferro_oci_server::Config { listen: address.to_string(), storage_dir: None };
        let app = ferro_oci_server::build_app(config.blob_store().expect("a store in memory"));
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            let _ = axum::serve(listener, app).await;
        });
        Ferro { address, runtime: Some(runtime) }
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// The URL of a path on it.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

impl Drop for Ferro {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
