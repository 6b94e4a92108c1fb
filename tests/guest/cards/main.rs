//! Network cards with drivers of their own, two on one wire, each the uplink of a hypervisor.
//!
//! These tests run in guests (`cargo xtask test vm`), which have the cards.

mod site;

use vtep_tests::daemon::Daemon;
use vtep_tests::lab::ns;
use vtep_tests::lab::underlay::Family;
use vtep_tests::traffic::checks;
use vtep_tests::{note, over_each_family};

use crate::site::{Cards, Site};

over_each_family! {
    a_card_carries,
    a_card_carries_by_tc_alone,
    a_card_carries_with_native_xdp_or_refuses_it,
    a_card_carries_jumbo_frames,
    a_card_that_goes_down_and_up_carries,
}

fn a_card_carries(family: Family) {
    let site = Site::new(Cards::take(), family, 1500, &[]);

    site.carries_in_place();
    note(&format!("`auto`: {}", chosen(&site)));
}

/// What `auto` has chosen: never generic XDP, whatever the driver cannot do.
#[track_caller]
fn chosen(site: &Site) -> String {
    let hook = site.hook();
    assert!(
        hook == "xdp native" || hook == "tc",
        "what nobody asked for: {hook}"
    );
    hook
}

fn a_card_carries_by_tc_alone(family: Family) {
    let site = Site::new(Cards::take(), family, 1500, &["--uplink-hook", "tc"]);

    assert_eq!(site.hook(), "tc");
    site.carries_in_place();
}

fn a_card_carries_with_native_xdp_or_refuses_it(family: Family) {
    let cards = Cards::take();
    let run = ["--uplink-hook", "xdp", "--xdp-mode", "native"];
    if let Some(said) = refusal(&cards, family, &run) {
        println!("refused: {said}");
        note(&format!(
            "native XDP: refused: {}",
            said.lines().last().unwrap_or_default()
        ));
        assert!(
            said.contains("native") || said.contains("ethtool"),
            "{said}"
        );
        return;
    }

    let site = Site::new(cards, family, 1500, &run);

    assert_eq!(site.hook(), "xdp native");
    site.carries_in_place();
    note("native XDP: carries");
}

/// What a start with these arguments is refused with, if it is.
fn refusal(cards: &Cards, family: Family, run: &[&str]) -> Option<String> {
    cards.address(family, 1500);
    let (ns, dev) = cards.end(0);
    let args = [&["--iface", dev], run].concat();
    Daemon::named(ns, &ns::unique("i"), &args).try_run().err()
}

fn a_card_carries_jumbo_frames(family: Family) {
    let site = Site::new(Cards::take(), family, 9000, &[]);

    site.carries_in_place();
    note(&format!("`auto` with an MTU of 9000: {}", chosen(&site)));
}

fn a_card_that_goes_down_and_up_carries(family: Family) {
    let site = Site::new(Cards::take(), family, 1500, &["--wait"]);
    site.carries_in_place();

    site.bounce();

    checks::tcp_both_ways(&site.a, &site.b);
}
