//! Tokens: what they allow, and that nothing else is shown.

use super::{Client, refused, room, serving, signed, token};
use crate::support::{self};
use bson::doc;
use serde_json::json;

fn bearer(token: &str) -> String {
    format!("authorization: Bearer {token}\r\n")
}

#[tokio::test]
async fn a_token_opens_what_its_claims_allow_and_nothing_else() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let mut tailwater = serving(&db, kafka)
        .env("LIVE_ADDR", "0.0.0.0:0")
        .env("LIVE_JWT_SECRET", super::SECRET)
        .env("LIVE_JWT_ISSUER", "us")
        .env("LIVE_JWT_AUDIENCE", "live")
        .env("LIVE_WHERE", r#"{"userId":"$sub"}"#)
        .env("LOG_LEVEL", "debug")
        .start()
        .await;
    let addr = tailwater.live_addr().await;
    let claims = json!({"iss": "us", "aud": "live", "sub": "u1", "databases": [db.name()], "collections": ["msgs"]});
    let with = |name: &str, value: serde_json::Value| {
        let mut claims = claims.clone();
        claims[name] = value;
        token(claims)
    };
    let now = jiff::Timestamp::now().as_second();
    let right = token(claims.clone());
    let (head, signature) = right.split_at(right.len() - 4);
    let forged = format!(
        "{head}{}",
        if signature == "AAAA" { "BBBB" } else { "AAAA" }
    );
    for (token, status, named) in [
        (with("exp", json!(now - 60)), 401, "expired"),
        (with("nbf", json!(now + 600)), 401, "nbf"),
        (with("aud", json!("other")), 401, "audience"),
        (with("iss", json!("them")), 401, "issuer"),
        (forged, 401, "signature"),
        (
            signed("another secret of thirty-two bytes", &claims),
            401,
            "signature",
        ),
        (with("sub", json!(null)), 403, "claim sub"),
        (with("sub", json!({"$ne": 1})), 403, "claim sub"),
    ] {
        let (told, sentence) = refused(addr, "", &bearer(&token)).await;
        assert_eq!(
            (told, sentence.contains(named)),
            (status, true),
            "{sentence}"
        );
    }
    assert_eq!(refused(addr, "", "").await.0, 401);
    for query in ["?database=bank", "?collection=users"] {
        assert_eq!(
            refused(addr, query, &bearer(&right)).await.0,
            403,
            "{query}"
        );
    }

    let mut own = Client::open(addr, &format!("?access_token={right}"), "").await;
    // Another's room is asked for, and of it only what is one's own is shown.
    let mut rooms = Client::open(addr, &room("r1"), &bearer(&right)).await;
    let messages = db.documents("msgs");
    for (n, user, room) in [(1, "u2", "r1"), (2, "u1", "r2"), (3, "u1", "r1")] {
        messages
            .insert_one(doc! {"_id": n, "n": n, "userId": user, "room": room})
            .await
            .unwrap();
    }
    db.documents("users")
        .insert_one(doc! {"n": 9, "userId": "u1"})
        .await
        .unwrap();
    // Whose it was before is not known: what has changed is not told.
    messages
        .update_one(doc! {"_id": 1}, doc! {"$set": {"userId": "u1", "n": 4}})
        .await
        .unwrap();
    let told = own.take(3).await;
    assert_eq!(
        Vec::from_iter(told.iter().map(super::Event::number)),
        [2, 3, 4]
    );
    assert!(
        told[2].json().get("updateDescription").is_none(),
        "{told:?}"
    );
    assert_eq!(
        Vec::from_iter(rooms.take(2).await.iter().map(super::Event::number)),
        [3, 4]
    );
    assert!(!tailwater.log().contains(&right), "a token is in the log");
    tailwater.stop().await;
}

#[tokio::test]
async fn a_connection_ends_with_its_token() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let mut tailwater = serving(&db, kafka)
        .env("LIVE_JWT_SECRET", super::SECRET)
        .start()
        .await;
    let addr = tailwater.live_addr().await;
    let soon = jiff::Timestamp::now().as_second() + 3;
    let short = token(json!({"databases": ["*"], "exp": soon}));
    let mut client = Client::open(addr, "", &bearer(&short)).await;
    let last = client.next().await.unwrap();
    assert_eq!(last.name, "close");
    assert!(last.data.contains("expired"), "{last:?}");
    assert!(client.next().await.is_none());
    tailwater.stop().await;
}
