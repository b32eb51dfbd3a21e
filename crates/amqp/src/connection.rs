use std::{ops::Deref, sync::Arc};

use lapin::Connection;

use crate::{Failure, within};

/// A connection to a broker that ends with its handle, whatever was still under way on it.
///
/// lapin's own ends with the last of its channels, and a consumer keeps its channel: where nobody waited for the answer to
/// `basic.consume` any more, both lived on, with all that the broker had delivered meanwhile.
#[derive(Debug)]
pub struct OwnedConnection(Arc<Connection>);

impl OwnedConnection {
    pub(crate) fn new(connection: Connection) -> Self {
        Self(Arc::new(connection))
    }
}

impl Deref for OwnedConnection {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.0
    }
}

impl Drop for OwnedConnection {
    fn drop(&mut self) {
        // Without a runtime, the socket is about to go with it.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let connection = Arc::clone(&self.0);
        #[expect(clippy::disallowed_methods, reason = "nobody joins it: it ends within the limit")]
        runtime.spawn(async move {
            let closed =
                within(async { connection.close(200, "OK".into()).await.map_err(|error| Failure::broken(&error)) });
            // One that is closed already is no failure. Where the broker answers nothing, it ends it itself for want of a
            // heartbeat.
            closed.await.ok();
        });
    }
}
