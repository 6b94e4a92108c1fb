//! `vtep drops`

use super::Request;
use crate::api::client::Show;

pub(super) fn request() -> Request {
    Request::Show(Show::Drops)
}
