use super::*;
use crate::load::arrival::Law;
use crate::load::endpoint::Body;

fn parse(text: &str) -> Result<Scenario, Problems> {
    document::parse(Path::new("s.toml"), text, |top| decode::scenario(top, "s"))
}

#[test]
fn every_ready_scenario_is_right() {
    for (name, _) in READY {
        let scenario = Scenario::find(name).unwrap_or_else(|problems| panic!("{problems}"));
        assert_eq!(scenario.name, name);
        assert!(scenario.length() <= Duration::from_secs(60), "{name} is for trying out");
    }
}

#[test]
fn the_guide_is_built_in() {
    let scenario = parse(
        "description = 'x'\n[[population]]\nname = 'p'\ntier = 'professional'\n\
         requests = [{ endpoint = 'bulk-students', records = 100 }]",
    )
    .expect("a scenario");
    let population = &scenario.populations[0];
    let tier = scenario.tier_of(population).expect("a tier");
    assert_eq!((tier.requests_per_hour, tier.burst_per_minute), (1_000, 100));
    let (endpoint, _) = &population.mix[0];
    assert_eq!((endpoint.method.as_str(), endpoint.body), ("POST", Body::Students(100)));
    let rule = &scenario.rules[endpoint.rule.expect("a rule")];
    assert_eq!((rule.name.as_str(), rule.limit), ("bulk", 20));
    assert_eq!(population.timeline.0[0].law, Law::Closed);
}

#[test]
fn what_is_wrong_is_told_with_its_line() {
    let told = parse(
        "[[population]]\nname = 'p'\ntier = 'gold'\nkeys = 0\nrequests = [{ endpoint = 'courses' }]\n\
         arrivals = [{ kind = 'constant', seconds = 1 }, { kind = 'closed', seconds = 1 }]\nspeed = 9\n",
    )
    .expect_err("problems")
    .to_string();
    for line in [
        "s.toml: description: missing; write a sentence that says what it is for",
        "s.toml:3: population.tier: there is no tier \"gold\"; allowed: professional, enterprise",
        "s.toml:4: population.keys: 0 is out of range; allowed: 1 to 1000000",
        "s.toml:6: population.arrivals.rate: missing; write requests a second",
    ] {
        assert!(told.lines().any(|told| told == line), "{line} in:\n{told}");
    }
    assert!(
        told.contains("s.toml:5: population.requests.endpoint: there is no endpoint \"courses\""),
        "{told}"
    );
    assert!(told.contains("s.toml:7: population.speed: unknown field"), "{told}");
}

#[test]
fn a_closed_loop_stands_alone_and_records_belong_to_bulk() {
    let refusal = |rest: &str| {
        let text = format!("description = 'x'\n[[population]]\nname = 'p'\ntier = 'enterprise'\n{rest}");
        parse(&text).expect_err("problems").to_string()
    };
    let told = refusal(
        "requests = [{ path = '/' }]\narrivals = [{ kind = 'pause', seconds = 1 }, { kind = 'closed', seconds = 1 }]",
    );
    assert!(told.contains("s.toml:6: population.arrivals: a phase of kind \"closed\""), "{told}");
    let told = refusal("requests = [{ endpoint = 'course', records = 3 }]");
    assert!(told.contains("s.toml:5: population.requests.records: course takes no records"), "{told}");
    let told = refusal("requests = [{ path = 'courses' }]");
    assert!(told.contains("cannot be sent"), "{told}");
}

#[test]
fn an_unknown_name_is_told_with_the_known_ones() {
    let told = Scenario::find("nonesuch").expect_err("a refusal").to_string();
    assert!(
        told.contains("nonesuch") && told.contains("professional-day") && told.contains("mixed"),
        "{told}"
    );
}
