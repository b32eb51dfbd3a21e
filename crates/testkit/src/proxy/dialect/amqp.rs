//! AMQP 0-9-1: a header of eight bytes, then frames: type, channel, size, payload, 0xCE
//! (<https://www.rabbitmq.com/resources/specs/amqp0-9-1.pdf>, 4.2).

use super::{Answer, Kind, Piece, u32_at};

const PROTOCOL_HEADER: usize = 8;
const FRAME_HEADER: usize = 7;
const FRAME_END: usize = 1;
const METHOD: u8 = 1;
const HEARTBEAT: u8 = 8;

#[derive(Debug, Default)]
pub(in crate::proxy) struct Client {
    greeted: bool,
}

impl Client {
    pub(super) fn first(&mut self, buffer: &[u8]) -> Option<Piece> {
        if !self.greeted {
            buffer.get(..PROTOCOL_HEADER)?;
            self.greeted = true;
            return Some((PROTOCOL_HEADER, Kind::Request("header".to_owned()), Answer::Quiet));
        }
        let length = FRAME_HEADER + u32_at(buffer, 3)? + FRAME_END;
        let frame = buffer.get(..length)?;
        let kind = match frame[0] {
            HEARTBEAT => Kind::Uncounted,
            METHOD => Kind::Request(method(&frame[FRAME_HEADER..])),
            2 => Kind::Request("content header".to_owned()),
            3 => Kind::Request("content body".to_owned()),
            other => Kind::Request(format!("frame {other}")),
        };
        Some((length, kind, Answer::Quiet))
    }
}

fn method(payload: &[u8]) -> String {
    let number = |at: usize| payload.get(at..at + 2).map_or(0, |bytes| u16::from_be_bytes([bytes[0], bytes[1]]));
    let name = match (number(0), number(2)) {
        (10, 11) => "connection.start-ok",
        (10, 31) => "connection.tune-ok",
        (10, 40) => "connection.open",
        (10, 50) => "connection.close",
        (10, 51) => "connection.close-ok",
        (20, 10) => "channel.open",
        (20, 40) => "channel.close",
        (50, 10) => "queue.declare",
        (50, 20) => "queue.bind",
        (60, 10) => "basic.qos",
        (60, 20) => "basic.consume",
        (60, 30) => "basic.cancel",
        (60, 40) => "basic.publish",
        (60, 70) => "basic.get",
        (60, 80) => "basic.ack",
        (60, 90) => "basic.reject",
        (60, 110) => "basic.recover",
        (60, 120) => "basic.nack",
        (85, 10) => "confirm.select",
        (class, method) => return format!("method {class}.{method}"),
    };
    name.to_owned()
}
