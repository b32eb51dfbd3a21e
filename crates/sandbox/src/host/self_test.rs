//! Whether the jail works and holds, found out by trying.

use std::{fs::File, io::Write};

use lazaret_core::{ImageLimits, ImageOutput, Sha256Digest, Spooled};

use super::{
    ExitCause, Jail, JailError,
    attend::{Attended, Deadline, End},
    job::Ending,
    lacking,
    line::{Line, Seat},
    memfd, transformer,
};
use crate::{
    format::ImageFormat,
    layer::Layer,
    probe::Probe,
    wire::{ToChild, ToHost},
};

/// A bitmap of one white pixel: file header, BITMAPINFOHEADER, one padded row.
const ONE_PIXEL: [u8; 58] = {
    let mut bmp = [0; 58];
    bmp[0] = b'B';
    bmp[1] = b'M';
    bmp[2] = 58;
    bmp[10] = 54;
    bmp[14] = 40;
    bmp[18] = 1;
    bmp[22] = 1;
    bmp[26] = 1;
    bmp[28] = 24;
    bmp[34] = 4;
    bmp[54] = 255;
    bmp[55] = 255;
    bmp[56] = 255;
    bmp
};

const LIMITS: ImageLimits = ImageLimits { max_pixels: 1, max_side: 1, max_frames: 1, max_total_pixels: 1 };

impl Jail {
    /// Runs a real job, then has children in every place try everything that a prisoner must not be able to do.
    pub(super) async fn test_all(&self) -> Result<(), JailError> {
        let input = one_pixel().map_err(lacking("memory"))?;
        let plan = transformer::image_plan(ImageFormat::Bmp, LIMITS, &ImageOutput::default())
            .map_err(|detail| failure("one-pixel-image", detail))?;
        match self.run(&input, plan).await? {
            Ending::Done { .. } => {}
            other => return Err(failure("one-pixel-image", format!("{other:?}"))),
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
        let mut child = Attended::new(seat, None)?;
        let end = match child.ready().await? {
            Ok(()) => child.obey(&ToChild::Probe(probe), Deadline::after(self.settings.wall_time)).await?,
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

fn one_pixel() -> std::io::Result<Spooled> {
    let len = ONE_PIXEL.len() as u64;
    let mut file: File = memfd::create("lazaret-self-test", len)?;
    file.write_all(&ONE_PIXEL)?;
    memfd::seal(&file, len)?;
    // Nobody asks for the digest.
    Ok(Spooled::new(file, len, Sha256Digest::from_bytes([0; 32]), ()))
}
