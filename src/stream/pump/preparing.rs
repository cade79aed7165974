//! What is done before an event's records are made, where something is: fields of its document are left out or changed,
//! and it is counted in its transaction.

use super::{Pump, Step, malformed};
use crate::change::event::{Event, Operation};
use crate::change::position::Seq;
use crate::change::transactions::{Bounds, Taken, Transactions};
use crate::config::StreamSpec;
use crate::fields::Fields;
use crate::route::Route;
use crate::stream::produce::Produce;

/// One place for all of it, so that a stream which asks for nothing looks once for each event.
#[derive(Default)]
pub(super) struct Preparing {
    pub(super) fields: Option<Fields>,
    transactions: Option<Transactions>,
}

impl Preparing {
    pub(super) fn of(spec: &StreamSpec) -> Option<Box<Self>> {
        let fields = Fields::of(spec.sink.fields.as_ref())?;
        Some(Box::new(Self {
            fields: Some(fields),
            transactions: None,
        }))
    }
}

impl<P: Produce, R: Route> Pump<'_, P, R> {
    /// The same that says where events stand in their transactions.
    #[must_use]
    pub fn with_transactions(mut self, transactions: Option<Transactions>) -> Self {
        if let Some(transactions) = transactions {
            let seq = self.outlet.reached().seq;
            self.outlet.hold_transactions(transactions.held(seq));
            let preparing = self.preparing.get_or_insert_default();
            preparing.transactions = Some(transactions);
        }
        self
    }

    /// What is done to fields of documents; none where nothing is.
    #[inline]
    pub(super) fn fields(&mut self) -> Option<&mut Fields> {
        self.preparing.as_mut()?.fields.as_mut()
    }

    /// Counts an event that takes the number `seq` in its transaction, for its records and for the positions behind it.
    /// What begins and ends with it is to be said before its records.
    pub(super) fn place(
        &mut self,
        event: &Event<'_>,
        seq: Seq,
        by_configuration: bool,
    ) -> Step<Option<Bounds>> {
        let preparing = self.preparing.as_mut();
        let Some(transactions) = preparing.and_then(|it| it.transactions.as_mut()) else {
            return Ok(None);
        };
        // A row of a snapshot comes between the events of the stream.
        let taken = match event.operation {
            Operation::Read => Taken::default(),
            _ => {
                let mut taken = transactions.take(event, seq, by_configuration);
                self.outlet.hold_transactions(taken.held.take());
                taken
            }
        };
        let said = self.encoders.place(taken.place.as_ref());
        said.map_err(malformed).map(|()| taken.bounds)
    }
}
