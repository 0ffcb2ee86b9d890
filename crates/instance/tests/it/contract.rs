//! Tests the adapter with the exchanges of `tests/contract`: its requests and its use of the
//! answers, for each kind of LocalStack.

use std::{collections::BTreeMap, path::Path};

use podsync_instance::{Difference, Error, Instance, LoadRequest, Merge, Service};
use serde_json::Value;

use crate::{
    hostile::{Act, Hostile, answer},
    load::{load, state},
};

/// What `x-localstack-pod-size` says in the fixture.
const STATE_LEN: usize = 4096;

struct Exchange {
    method: String,
    path: String,
    query: Option<String>,
    headers: BTreeMap<String, String>,
    answers: BTreeMap<String, Value>,
}

impl Exchange {
    fn read(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/contract");
        let text = std::fs::read_to_string(path.join(name)).unwrap();
        let mut exchange: Value = serde_json::from_str(&text).unwrap();
        let request = exchange["request"].take();
        let text = |name: &str| request[name].as_str().map(str::to_owned);
        Self {
            method: text("method").unwrap(),
            path: text("path").unwrap(),
            query: text("query"),
            headers: serde_json::from_value(request["headers"].clone()).unwrap_or_default(),
            answers: serde_json::from_value(exchange["answers"].take()).unwrap(),
        }
    }

    fn line(&self) -> String {
        let query = self
            .query
            .as_ref()
            .map_or(String::new(), |query| format!("?{query}"));
        format!("{} {}{query}", self.method, self.path)
    }

    /// The answer of one kind; a kind that isn't there has no such endpoint.
    fn script(&self, kind: &str) -> Vec<Act> {
        let told = self
            .answers
            .get(kind)
            .cloned()
            .unwrap_or(serde_json::json!({"status": 404}));
        let status = told["status"].as_u64().unwrap() as u16;
        let headers: BTreeMap<String, String> =
            serde_json::from_value(told["headers"].clone()).unwrap_or_default();
        let headers: String = headers
            .iter()
            .filter(|(name, _)| *name != "content-length")
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        let body = match (&told["json"], &told["ndjson"], told["body"].as_str()) {
            (Value::Null, Value::Array(lines), _) => lines
                .iter()
                .map(|line| format!("{line}\n"))
                .collect::<String>()
                .into_bytes(),
            (Value::Null, _, Some("a zip")) => zip(),
            (Value::Null, _, body) => body.unwrap_or_default().as_bytes().to_vec(),
            (json, ..) => json.to_string().into_bytes(),
        };
        let read = (self.method == "POST").then_some(Act::ReadBody);
        read.into_iter()
            .chain([answer(status, &headers, &body)])
            .collect()
    }
}

fn zip() -> Vec<u8> {
    let mut zip = b"PK\x05\x06".to_vec();
    zip.resize(STATE_LEN, 0);
    zip
}

/// An instance of one kind, with these exchanges in place of what it would answer by itself.
async fn instance(kind: &str, exchanges: &[&str]) -> (Hostile, Instance) {
    let mut server = Hostile::start().await;
    for name in exchanges {
        let exchange = Exchange::read(name);
        let line = format!("{} {}", exchange.method, exchange.path);
        server = server.on(&line, exchange.script(kind));
    }
    let instance = server.instance().await;
    (server, instance)
}

fn services() -> [Service; 2] {
    ["s3", "sqs"].map(|name| Service::new(name).unwrap())
}

#[tokio::test]
async fn saves_as_the_contract_says() {
    for kind in ["licensed", "companion"] {
        let (server, instance) = instance(kind, &["environment.json", "save.json"]).await;
        assert_eq!(
            instance.environment().await.unwrap().pro,
            kind == "licensed"
        );
        let folder = tempfile::tempdir().unwrap();
        let saved = instance
            .save(&services(), folder.path(), |_, _| {})
            .await
            .unwrap();
        assert_eq!(saved.services, services(), "{kind}");
        assert_eq!(saved.file.metadata().unwrap().len(), STATE_LEN as u64);
        let asked = server.requests();
        let line = Exchange::read("save.json").line();
        let request = asked
            .iter()
            .find(|request| request.line.replace("%2C", ",") == line);
        assert!(request.is_some(), "{kind}: no {line} in {asked:?}");
        assert!(
            request.unwrap().headers.contains_key("authorization"),
            "the token goes along"
        );
    }
}

#[tokio::test]
async fn loads_as_the_contract_says() {
    for kind in ["licensed", "companion"] {
        let (server, instance) = instance(kind, &["environment.json", "load.json"]).await;
        let (zip, exchange) = (zip(), Exchange::read("load.json"));
        let sent: &'static [u8] = zip.clone().leak();
        let report = load(
            &instance,
            state(&[sent]),
            STATE_LEN as u64,
            Merge::AccountRegionMerge,
        )
        .await
        .unwrap();
        assert_eq!(report.applied, services(), "{kind}");
        let requests = server.requests();
        let posted = requests
            .iter()
            .find(|request| request.line == exchange.line())
            .unwrap();
        assert_eq!(posted.body, zip);
        for (name, value) in &exchange.headers {
            assert_eq!(posted.headers.get(name), Some(value), "{kind}");
        }
    }
}

#[tokio::test]
async fn plans_as_the_contract_says() {
    let exchanges = ["environment.json", "plan.json"];
    let request = || LoadRequest {
        len: STATE_LEN as u64,
        reference: "orders:3",
        merge: Merge::Overwrite,
        saved_by: None,
        meant: None,
    };
    let (server, companion) = instance("companion", &exchanges).await;
    let sent: &'static [u8] = zip().leak();
    let plan = companion.plan(state(&[sent]), request()).await.unwrap();
    let changes = plan.unwrap().changes;
    assert_eq!(changes[0].difference, Difference::Added);
    assert_eq!(changes[0].resource.place.to_string(), "sqs queue more");
    // Whatever is asked, nothing was asked to be loaded.
    assert_eq!(server.posts(), [Exchange::read("plan.json").line()]);

    let (server, licensed) = instance("licensed", &exchanges).await;
    let plan = licensed.plan(state(&[sent]), request()).await.unwrap();
    assert_eq!(plan, None);
    assert_eq!(server.posts(), [Exchange::read("plan.json").line()]);
}

#[tokio::test]
async fn refusals_of_the_contract_are_understood() {
    for kind in ["licensed", "companion"] {
        let exchanges = ["environment.json", "load-incompatible.json"];
        let (_server, incompatible) = instance(kind, &exchanges).await;
        let error = load(&incompatible, state(&[b"PK\x05\x06"]), 4, Merge::Overwrite).await;
        assert!(
            matches!(error, Err(Error::Incompatible { .. })),
            "{kind}: {error:?}"
        );

        let (_server, broken) = instance(kind, &["environment.json", "load-broken.json"]).await;
        let error = load(&broken, state(&[b"PK\x05\x06"]), 4, Merge::Overwrite).await;
        assert!(error.is_err(), "{kind}: {error:?}");
    }
}

#[tokio::test]
async fn resets_and_lists_as_the_contract_says() {
    let exchanges = [
        "environment.json",
        "reset.json",
        "reset-service.json",
        "index.json",
    ];
    for kind in ["licensed", "companion"] {
        let (server, instance) = instance(kind, &exchanges).await;
        let [_, sqs] = services();
        instance.reset(Some(&sqs)).await.unwrap();
        instance.reset(None).await.unwrap();
        let lines = ["reset-service.json", "reset.json"].map(|name| Exchange::read(name).line());
        assert_eq!(server.posts(), lines, "{kind}");
    }
    let (server, companion) = instance("companion", &exchanges).await;
    let contents = companion.contents(&services()).await.unwrap().unwrap();
    assert_eq!(contents.resources[0].place.to_string(), "sqs queue orders");
    let line = Exchange::read("index.json").line();
    assert!(
        server
            .requests()
            .iter()
            .any(|request| request.line.replace("%2C", ",") == line)
    );

    // The licensed edition has no index; its list of resources is asked instead.
    let (server, licensed) = instance("licensed", &exchanges).await;
    let server = server.on(
        "GET /_localstack/resources",
        vec![answer(
            200,
            "",
            b"{\"AWS::SQS::Queue\": [{\"region_name\": \"us-east-1\", \"account_id\": \"000000000000\", \"id\": \"orders\"}]}\n",
        )],
    );
    let contents = licensed.contents(&[]).await.unwrap().unwrap();
    assert_eq!(contents.resources[0].place.to_string(), "sqs queue orders");
    drop(server);
}

#[tokio::test]
async fn an_unlicensed_one_is_told_from_both() {
    let (server, instance) = instance("unlicensed", &["environment.json"]).await;
    let folder = tempfile::tempdir().unwrap();
    let error = instance.save(&[], folder.path(), |_, _| {}).await;
    assert!(error.is_err(), "{error:?}");
    let said = error.unwrap_err().hint().unwrap();
    assert!(
        said.contains("LOCALSTACK_AUTH_TOKEN") && said.contains("podsync plugin install"),
        "{said}"
    );
    assert!(server.posts().is_empty());
}
