//! Absolute URLs that answers link to: the host's own get credentials, a stranger's do not.

use crate::kit::{self, Machine, basic, get, text};
use crate::support::http::{Reply, Server};
use regfs::error::Kind;

#[test]
fn item_29_a_link_to_the_host_itself_gets_credentials_and_to_a_stranger_none() {
    let stranger = Server::start(|_| Reply::ok("page"));
    let registry = Server::start(|request| match request.basic() {
        Some(_) => Reply::ok("page"),
        None => Reply::new(401).header("WWW-Authenticate", "Basic realm=x"),
    });
    let machine = Machine::new();
    machine.login(&[(&registry.host(), basic("me", "p")), (&stranger.host(), basic("me", "p"))]);
    let host = kit::host_with(machine.config(), &registry);
    let own = registry.url("/v2/_catalog?next_page=gAAAA%2B&last=conformance/repo1");
    assert_eq!(text(get(&host, &own)).expect("own"), "page");
    let sent = registry.requests().pop().expect("a request");
    assert_eq!(sent.query, "next_page=gAAAA%2B&last=conformance/repo1", "verbatim");
    assert_eq!(text(get(&host, &stranger.url("/v2/page"))).expect("a stranger's"), "page");
    assert!(stranger.requests()[0].header("authorization").is_none());
}

#[test]
fn item_29_links_in_clear_to_strangers_and_nonsense_are_refused() {
    let registry = Server::start(|_| Reply::ok("page"));
    let host = kit::host(&registry);
    for link in ["http://192.0.2.1/v2/x", "ftp://127.0.0.1/", "nonsense", "https://"] {
        assert_eq!(get(&host, link).err().expect(link).kind(), Kind::Protocol);
    }
    assert_eq!(registry.count(), 0);
}

#[test]
fn answers_tell_where_they_came_from_so_that_links_resolve() {
    let registry = Server::start(|_| Reply::ok("page").header("Link", "</v2/_catalog?last=b&n=2>; rel=\"next\""));
    let answer = get(&kit::host(&registry), "/v2/_catalog?n=2").expect("an answer");
    assert_eq!(answer.url.as_str(), registry.url("/v2/_catalog?n=2"));
    let next = answer.url.join("/v2/_catalog?last=b&n=2").expect("a url");
    assert_eq!(next.as_str(), registry.url("/v2/_catalog?last=b&n=2"));
}
