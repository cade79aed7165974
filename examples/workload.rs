//! A small live workload: users sign up, change, log in and leave.
//!
//! `MONGODB_URI=mongodb://localhost:27017/dashboard cargo run -p examples --bin workload [changes per second]`

use bson::{DateTime, Document, doc, oid::ObjectId};
use mongodb::{Client, Collection};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

const NAMES: [&str; 8] = [
    "Ada", "Alan", "Barbara", "Edsger", "Grace", "Ken", "Leslie", "Margaret",
];
const PLANS: [&str; 3] = ["free", "team", "enterprise"];

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let uri = std::env::var("MONGODB_URI")
        .unwrap_or_else(|_| "mongodb://localhost:27017/dashboard".to_owned());
    let per_second: f64 = std::env::args()
        .nth(1)
        .map_or(Ok(2.0), |rate| rate.parse())?;

    let client = Client::with_uri_str(&uri).await?;
    let database = client
        .default_database()
        .ok_or("MONGODB_URI names no database")?;
    let (users, organizations, sessions) = (
        database.collection::<Document>("users"),
        database.collection::<Document>("organizations"),
        database.collection::<Document>("sessions"),
    );

    let mut present: Vec<ObjectId> = Vec::new();
    let mut ticks = tokio::time::interval(Duration::from_secs_f64(1.0 / per_second));
    loop {
        ticks.tick().await;
        let chance = random(10);
        if present.len() < 3 || chance < 3 {
            present.push(sign_up(&users).await?);
            continue;
        }
        let user = random(present.len());
        let id = present[user];
        match chance {
            3..=5 => log_in(&users, &sessions, id).await?,
            6 | 7 => change_organization(&organizations).await?,
            8 => rewrite(&users, id).await?,
            _ => {
                users.delete_one(doc! {"_id": id}).await?;
                present.swap_remove(user);
            }
        }
    }
}

async fn sign_up(users: &Collection<Document>) -> mongodb::error::Result<ObjectId> {
    let id = ObjectId::new();
    users.insert_one(user(id)).await?;
    Ok(id)
}

async fn log_in(
    users: &Collection<Document>,
    sessions: &Collection<Document>,
    id: ObjectId,
) -> mongodb::error::Result<()> {
    sessions
        .insert_one(doc! {"user": id, "startedAt": DateTime::now()})
        .await?;
    let seen = doc! {"$set": {"lastSeenAt": DateTime::now()}, "$inc": {"logins": 1}};
    users.update_one(doc! {"_id": id}, seen).await?;
    Ok(())
}

async fn change_organization(organizations: &Collection<Document>) -> mongodb::error::Result<()> {
    let id = i32::try_from(random(4)).unwrap_or(0);
    let plan = PLANS[random(PLANS.len())];
    organizations
        .update_one(
            doc! {"_id": id},
            doc! {"$set": {"plan": plan, "changedAt": DateTime::now()}, "$inc": {"seats": 1_i64}},
        )
        .upsert(true)
        .await?;
    Ok(())
}

async fn rewrite(users: &Collection<Document>, id: ObjectId) -> mongodb::error::Result<()> {
    users.replace_one(doc! {"_id": id}, user(id)).await?;
    Ok(())
}

fn user(id: ObjectId) -> Document {
    let name = NAMES[random(NAMES.len())];
    doc! {
        "_id": id,
        "name": name,
        "email": format!("{}@example.com", name.to_lowercase()),
        "createdAt": DateTime::now(),
        "settings": {"theme": "dark", "languages": ["en", "de"]},
    }
}

/// A number below `bound`; each hasher of the standard library has a random key of its own.
fn random(bound: usize) -> usize {
    let bits = RandomState::new().build_hasher().finish();
    usize::try_from(bits % bound as u64).unwrap_or(0)
}
