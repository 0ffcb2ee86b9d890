//! What a hub that runs logs about a bucket: each line names the team and the bucket.

use axum::http::{Method, StatusCode};

use crate::{
    fake::Fake,
    kit::{Team, client},
    running::{Settings, hang_up},
};

#[tokio::test]
async fn each_line_about_a_bucket_names_its_team_and_the_bucket() {
    client(); // Installs a TLS provider.
    let fake = Fake::default();
    let mut made = false;
    fake.refuse(move |method, key| {
        made |= method == Method::PUT && key.is_empty();
        let gone = method == Method::HEAD && key.is_empty() && !made;
        gone.then_some((StatusCode::NOT_FOUND, "NoSuchBucket"))
    });
    let endpoint = fake.serve().await.endpoint.unwrap();
    let team = Team::new().id();
    let settings = Settings::new(&[]);
    let text = format!(
        "listen = '127.0.0.1:0'\npublic_urls = ['https://localhost']\n\
         [[teams]]\nteam = '{team}'\nbucket = 'payments'\nregion = 'us-east-1'\nendpoint = '{endpoint}'\n"
    );
    let file = settings.path("hub.toml");
    std::fs::write(&file, &text).unwrap();
    let (program, port) = settings.serve();
    settings.told("the bucket does not exist yet", 1).await;
    settings.told("the bucket's server: ", 3).await;
    std::fs::write(&file, format!("{text}quota_bytes = 1000\n")).unwrap();
    hang_up(&program);
    settings.told("by new settings", 1).await;
    fake.refuse(|_, _| Some((StatusCode::FORBIDDEN, "AccessDenied")));
    let ready = client().get(format!("http://127.0.0.1:{port}/health/ready"));
    assert_eq!(
        ready.send().await.unwrap().status(),
        StatusCode::SERVICE_UNAVAILABLE
    );
    settings.told("not ready", 1).await;
    std::fs::write(
        &file,
        text.replace(&team.to_string(), &Team::founded_by(1).id().to_string()),
    )
    .unwrap();
    hang_up(&program);
    settings.told("no longer serves the team", 1).await;
    settings.told("by new settings", 2).await;
    drop(program);
    for line in settings.log().lines() {
        let of_all = line.contains("the hub read the settings again");
        let named = line.contains("team=") && line.contains("bucket=\"payments\"");
        assert!(of_all || named, "{line}");
    }
}
