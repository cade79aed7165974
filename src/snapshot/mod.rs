//! What was there before the stream: rows of collections that go the way of the stream's own events.
//!
//! A snapshot runs beside its stream and writes nothing to MongoDB. Each query opens a [window](marks::Window) first:
//! from then on the pump remembers which documents the stream touches. The query reads what a majority has, not
//! before the stream's position; its rows wait until the stream has passed the time of their reply, and those that the
//! stream has touched meanwhile are left out, because the stream has brought them. So no row overtakes a newer change
//! of its document, and none brings a deleted document back.
//!
//! Rows take no number of their own: a row has that of the last event before it. So a replay numbers events as the
//! first run did, whatever rows came between them.
//!
//! The [progress](progress::Progress) is part of the position, so that it is stored with the rows.
//! [`reading`] is a function of it: whatever changes it (a request, a renamed collection) has the reading begin again
//! from there.

pub mod busy;
pub mod desk;
pub mod marks;
mod pace;
mod page;
mod plan;
pub mod progress;
mod query;
pub mod reading;
pub mod row;
pub mod touched;
