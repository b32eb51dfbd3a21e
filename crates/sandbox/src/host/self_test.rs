//! Whether the jail works and holds, found out by trying.

use lazaret_core::{ImageLimits, ImageOutput, Sha256Digest, Spooled};

use super::{
    ExitCause, Jail, JailError,
    attend::{Attended, Deadline, End, Order},
    job::Ending,
    lacking,
    line::{Line, Seat},
    memfd, transformer,
};
use crate::{
    format::ImageFormat,
    layer::Layer,
    probe::Probe,
    wire::{MAX_FOLLOWING_BYTES, ToChild, ToHost},
};

/// Sides of the images that a jail must make anew before it is trusted with others: one goes from process to process by
/// the wire, the other, which no format makes much shorter, in memory.
const SIDES: [u8; 2] = [1, 200];

impl Jail {
    /// Runs two real jobs, then has children in every place try everything that a prisoner must not be able to do.
    pub(super) async fn test_all(&self) -> Result<(), JailError> {
        for side in SIDES {
            let input = bitmap(side).map_err(lacking("memory"))?;
            // With room for what goes around the pixels in other formats.
            let settings = &self.settings;
            let room = settings.max_input_bytes.min(settings.max_picture_bytes).min(settings.max_output_bytes);
            if input.len() > MAX_FOLLOWING_BYTES as u64 && input.len() * 2 > room {
                continue;
            }
            let pixels = u64::from(side) * u64::from(side);
            let limits =
                ImageLimits { max_pixels: pixels, max_side: side.into(), max_frames: 1, max_total_pixels: pixels };
            let plan = transformer::image_plan(ImageFormat::Bmp, limits, &ImageOutput::default())
                .map_err(|detail| failure("image", detail))?;
            match self.run(&input, plan).await? {
                Ending::Done { .. } => {}
                other => return Err(failure("image", format!("{side} pixels a side: {other:?}"))),
            }
        }
        for &probe in Probe::ALL {
            let Line { decoder, encoder, verifier, .. } = self.line().await?;
            self.try_out(probe, decoder).await?;
            self.try_out(probe, encoder).await?;
            // The last one has no output to write past.
            if probe != Probe::PastOutput {
                self.try_out(probe, verifier).await?;
            }
        }
        Ok(())
    }

    async fn try_out(&self, probe: Probe, seat: Seat) -> Result<(), JailError> {
        let mut child = Attended::new(seat, None);
        let end = match child.ready().await? {
            Ok(()) => {
                let order = Order { message: ToChild::Probe(probe), input: &[] };
                child.obey(order, Deadline::after(self.settings.wall_time)).await?
            }
            Err(end) => end,
        };
        stopped_by_jail(probe, end)
    }
}

/// A system call must end in the filter, a write past the output in the guard page. An attempt that merely failed
/// means that a layer is not there.
fn stopped_by_jail(probe: Probe, end: End) -> Result<(), JailError> {
    let expected = match probe {
        Probe::PastOutput | Probe::WriteInput => ExitCause::Crash,
        Probe::OpenFile
        | Probe::ConnectSocket
        | Probe::Fork
        | Probe::Execute
        | Probe::TraceHost
        | Probe::WritableExecutable
        | Probe::Signal
        | Probe::MakeExecutable
        | Probe::IoUring
        | Probe::MakeSocket
        | Probe::LoosenFilter
        | Probe::BecomeDumpable
        | Probe::ReadHost
        | Probe::Unshare
        | Probe::MakeFile
        | Probe::ReceiveMessage => ExitCause::PolicyViolation,
    };
    let End { cause, detail, last, .. } = end;
    match (cause, last) {
        (cause, None) if cause == expected => Ok(()),
        (_, Some(ToHost::SetUpFailed { layer, detail })) => {
            Err(JailError::MissingLayer { layer, detail: detail.to_string() })
        }
        (ExitCause::SetUp, _) => Err(JailError::MissingLayer { layer: Layer::Program, detail }),
        (_, Some(ToHost::Survived { errno: 0, .. })) => Err(failure(probe.name(), "it succeeded".into())),
        (_, Some(ToHost::Survived { errno, .. })) => {
            Err(failure(probe.name(), format!("only error {errno} stopped it")))
        }
        (cause, _) => Err(failure(probe.name(), format!("ended as {cause}: {detail}"))),
    }
}

fn failure(probe: &'static str, detail: String) -> JailError {
    JailError::SelfTest { probe, detail }
}

/// A bitmap of noise: file header, BITMAPINFOHEADER, padded rows.
fn bitmap(side: u8) -> std::io::Result<Spooled> {
    let row = (usize::from(side) * 3).next_multiple_of(4);
    let mut noise = 1_u32;
    let pixels: Vec<u8> = std::iter::repeat_with(|| {
        // Marsaglia's xorshift.
        noise ^= noise << 13;
        noise ^= noise >> 17;
        noise ^= noise << 5;
        noise.to_le_bytes()[0]
    })
    .take(row * usize::from(side))
    .collect();
    let mut header = [0; 54];
    header[..2].copy_from_slice(b"BM");
    header[2..6].copy_from_slice(&u32::try_from(54 + pixels.len()).unwrap_or_default().to_le_bytes());
    header[10] = 54;
    header[14] = 40;
    header[18] = side;
    header[22] = side;
    header[26] = 1;
    header[28] = 24;
    let bytes = [&header[..], &pixels].concat();
    // Nobody asks for the digest.
    Ok(Spooled::new(memfd::of(&bytes)?, bytes.len() as u64, Sha256Digest::from_bytes([0; 32]), ()))
}
