//! A broker that asks who may do what, and the rights of its users.
//!
//! The Rust client has no call for access control, and the command line takes seconds for each: so the
//! requests are written here as the protocol has them (<https://kafka.apache.org/protocol>, `DescribeAcls`,
//! `CreateAcls` and `DeleteAcls`, version 1).

use super::{Kafka, PATIENCE, Setup, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Lines of `server.properties` for a broker that refuses what no rule allows. The listener without log-in
/// is the administrator's.
pub(super) fn properties(users: &[&str]) -> Vec<String> {
    let logins: String = users
        .iter()
        .map(|user| format!(" user_{user}=\"{}\"", password(user)))
        .collect();
    vec![
        "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer".into(),
        "super.users=User:ANONYMOUS".into(),
        "listener.name.users.sasl.enabled.mechanisms=PLAIN".into(),
        format!(
            "listener.name.users.plain.sasl.jaas.config=\
             org.apache.kafka.common.security.plain.PlainLoginModule required{logins};"
        ),
    ]
}

fn password(user: &str) -> String {
    format!("password-of-{user}")
}

/// What a right is on. `*` is every one of that kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource<'a> {
    Topic(&'a str),
    Group(&'a str),
    TransactionalId(&'a str),
    Cluster,
}

impl<'a> Resource<'a> {
    fn encoded(self) -> (i8, &'a str) {
        match self {
            Self::Topic(name) => (2, name),
            Self::Group(name) => (3, name),
            Self::Cluster => (4, "kafka-cluster"),
            Self::TransactionalId(id) => (5, id),
        }
    }
}

/// What a right allows, as Kafka numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    All = 2,
    Read = 3,
    Write = 4,
    Create = 5,
    Delete = 6,
    Alter = 7,
    Describe = 8,
    DescribeConfigs = 10,
    AlterConfigs = 11,
    IdempotentWrite = 12,
}

/// Either answer to whether something is allowed, in the requests' numbers.
const ANY: i8 = 1;
const DENY: i8 = 2;
const ALLOW: i8 = 3;

const LITERAL: i8 = 3;
const DESCRIBE: i16 = 29;
const CREATE: i16 = 30;
const DELETE: i16 = 31;

impl Kafka {
    /// Lets `user` do this, unless it is denied.
    pub async fn allow(&self, user: &str, resource: Resource<'_>, operation: Operation) {
        self.create_acl(user, resource, operation, ALLOW).await;
    }

    /// Lets `user` do everything, so that a test can [deny](Self::deny) one thing.
    pub async fn allow_everything(&self, user: &str) {
        for resource in [
            Resource::Topic("*"),
            Resource::Group("*"),
            Resource::TransactionalId("*"),
            Resource::Cluster,
        ] {
            self.allow(user, resource, Operation::All).await;
        }
    }

    /// Keeps `user` from doing this, whatever else allows it.
    pub async fn deny(&self, user: &str, resource: Resource<'_>, operation: Operation) {
        self.create_acl(user, resource, operation, DENY).await;
    }

    /// Ends a [denial](Self::deny): what allows it holds again.
    pub async fn end_denial(&self, user: &str, resource: Resource<'_>, operation: Operation) {
        self.delete_acls(user, resource, operation, DENY).await;
    }

    /// Takes back what exactly this was [allowed](Self::allow) or [denied](Self::deny).
    pub async fn remove_acl(&self, user: &str, resource: Resource<'_>, operation: Operation) {
        self.delete_acls(user, resource, operation, ANY).await;
    }

    /// # Panics
    /// When there is no such rule.
    async fn delete_acls(&self, user: &str, resource: Resource<'_>, operation: Operation, is: i8) {
        let mut body = Body::default();
        let (kind, name) = resource.encoded();
        body.array(1).i8(kind).string(name).i8(LITERAL);
        body.rule(user, operation, is);
        let reply = self.ask(DELETE, &body).await;
        // The throttle time, how many filters, an error, its text or null (as none), how many rules.
        assert_eq!(&reply[4..8], [0, 0, 0, 1], "one filter");
        assert_eq!(&reply[8..12], [0, 0, 0xff, 0xff], "no error");
        let rules = i32::from_be_bytes(reply[12..16].try_into().expect("four bytes"));
        assert!(
            rules > 0,
            "no rule on {operation:?} of {resource:?} for {user}"
        );
        self.holds(user, resource, operation, is, false).await;
    }

    async fn create_acl(&self, user: &str, resource: Resource<'_>, operation: Operation, is: i8) {
        let mut body = Body::default();
        let (kind, name) = resource.encoded();
        body.array(1).i8(kind).string(name).i8(LITERAL);
        body.rule(user, operation, is);
        let reply = self.ask(CREATE, &body).await;
        let error = i16::from_be_bytes(reply[8..10].try_into().expect("two bytes"));
        assert_eq!(error, 0, "{operation:?} on {resource:?} for {user}");
        self.holds(user, resource, operation, is, true).await;
    }

    /// Waits until the broker itself acts by the change. The controller answers once the change is in its
    /// log; the broker reads that a moment later, and until then does as before.
    async fn holds(
        &self,
        user: &str,
        resource: Resource<'_>,
        operation: Operation,
        is: i8,
        there: bool,
    ) {
        let mut body = Body::default();
        let (kind, name) = resource.encoded();
        body.i8(kind).string(name).i8(LITERAL);
        body.rule(user, operation, is);
        eventually(PATIENCE, "the broker acts by the rule", async || {
            let reply = self.ask(DESCRIBE, &body).await;
            // The throttle time, an error, its text (empty), how many resources have such a rule.
            assert_eq!(&reply[4..8], [0; 4], "no error");
            let resources = i32::from_be_bytes(reply[8..12].try_into().expect("four bytes"));
            ((resources > 0) == there).then_some(())
        })
        .await;
    }

    /// Sends a request, again where the connection fails: a broker may be about to come back.
    async fn ask(&self, api: i16, body: &Body) -> Vec<u8> {
        eventually(PATIENCE, "the broker takes the rule", async || {
            exchange(self.brokers(), api, &body.0).await.ok()
        })
        .await
    }
}

/// Sends one request of version 1, and gives what follows the reply's header.
async fn exchange(broker: &str, api: i16, body: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut request = Body::default();
    request.i16(api).i16(1);
    // The correlation id.
    request.array(7).string("tests");
    request.0.extend_from_slice(body);
    let mut stream = TcpStream::connect(broker).await?;
    stream
        .write_i32(i32::try_from(request.0.len()).expect("short"))
        .await?;
    stream.write_all(&request.0).await?;
    let length = stream.read_i32().await?;
    let mut reply = vec![0; usize::try_from(length).expect("a length")];
    stream.read_exact(&mut reply).await?;
    Ok(reply.split_off(4))
}

/// A request's body as it grows.
#[derive(Default)]
struct Body(Vec<u8>);

impl Body {
    fn i8(&mut self, number: i8) -> &mut Self {
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }

    fn i16(&mut self, number: i16) -> &mut Self {
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }

    /// Whom, from where, what, and whether it is allowed.
    fn rule(&mut self, user: &str, operation: Operation, is: i8) {
        self.string(&format!("User:{user}")).string("*");
        self.i8(operation as i8).i8(is);
    }

    /// A number of elements.
    fn array(&mut self, count: i32) -> &mut Self {
        self.0.extend_from_slice(&count.to_be_bytes());
        self
    }

    fn string(&mut self, text: &str) -> &mut Self {
        self.i16(i16::try_from(text.len()).expect("short"));
        self.0.extend_from_slice(text.as_bytes());
        self
    }
}

impl Setup {
    /// Logs in to a broker made by [`Kafka::with_acls`] as this user.
    #[must_use]
    pub fn logged_in_as(self, kafka: &Kafka, user: &str) -> Self {
        self.env("KAFKA_BROKERS", kafka.users_brokers())
            .env("KAFKA_SECURITY_PROTOCOL", "SASL_PLAINTEXT")
            .env("KAFKA_SASL_MECHANISM", "PLAIN")
            .env("KAFKA_SASL_USERNAME", user)
            .env("KAFKA_SASL_PASSWORD", password(user))
    }
}
