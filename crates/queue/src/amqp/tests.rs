//! Against a real broker: `LAZARET_TEST_AMQP_URL`.

mod rig;

use std::time::Instant as Clock;

use anyhow::Result;
use lazaret_core::ports::DeadLetterQueue;
use lazaret_testkit::{
    dead_letters,
    queue::{Consumers, DeadLetters, Setup, conforms_while_held},
};

use super::*;
use rig::Rig;

#[async_trait]
impl Consumers for Rig {
    async fn open(&self) -> Result<Box<dyn Queue>> {
        Ok(Box::new(self.queue()))
    }
}

#[async_trait]
impl dead_letters::Holders for Rig {
    async fn open(&self) -> Result<Box<dyn DeadLetterQueue>> {
        Ok(Box::new(self.dead_letters()))
    }
}

#[async_trait]
impl DeadLetters for Rig {
    async fn dead_letters(&self) -> Result<Vec<(String, String)>> {
        let letters = Rig::dead_letters(self).receive(10).await?;
        let text = |letter: lazaret_core::ports::DeadLetter| {
            (String::from_utf8_lossy(&letter.body).into_owned(), letter.reason.unwrap_or_default())
        };
        Ok(letters.into_iter().map(text).collect())
    }
}

#[tokio::test]
async fn the_contract_is_kept() {
    let rig = Rig::new();
    let queue = rig.queue();
    conforms_while_held(Setup { queue: &queue, dead_letters: &rig }, &rig).await.unwrap();
}

#[tokio::test]
async fn the_dead_letter_contract_is_kept() {
    let rig = Rig::new();
    let queue = rig.queue();
    dead_letters::conforms(dead_letters::Setup { queue: &queue, holders: &rig }).await.unwrap();
}
