//! Whether the jail works and holds, found out by trying.

use std::{fs::File, io::Write, os::fd::AsFd};

use super::{
    ExitCause, Jail, JailError, memfd,
    run::{Ending, Task},
};
use crate::{
    format::{ImageFormat, ImageLimits},
    probe::Probe,
    wire::{ToHost, Work},
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
    /// Runs a real job, then tries everything a prisoner must not be able to do.
    pub(super) async fn test_all(&self) -> Result<(), JailError> {
        let input = one_pixel().map_err(|source| JailError::Resource { what: "memory", source })?;
        let work = Task::Work(Work { format: ImageFormat::Bmp, limits: LIMITS });
        match self.run(input.as_fd(), ONE_PIXEL.len() as u64, work).await? {
            Ending::Done { .. } => {}
            other => return Err(failure("one-pixel-image", format!("{other:?}"))),
        }
        for &probe in Probe::ALL {
            let ending = self.run(input.as_fd(), ONE_PIXEL.len() as u64, Task::Probe(probe)).await?;
            stopped_by_jail(probe, ending)?;
        }
        Ok(())
    }
}

/// A system call must end in the filter, a write past the output in the guard page. An attempt that merely failed
/// means that a layer is not there.
fn stopped_by_jail(probe: Probe, ending: Ending) -> Result<(), JailError> {
    let expected = match probe {
        Probe::PastOutput => ExitCause::Crash,
        Probe::OpenFile
        | Probe::ConnectSocket
        | Probe::Fork
        | Probe::Execute
        | Probe::Trace
        | Probe::WritableExecutable
        | Probe::Signal => ExitCause::PolicyViolation,
    };
    match ending {
        Ending::Stopped { cause, heard: None, .. } if cause == expected => Ok(()),
        Ending::Stopped { heard: Some(ToHost::Survived { errno: 0, .. }), .. } => {
            Err(failure(probe.name(), "it succeeded".into()))
        }
        Ending::Stopped { heard: Some(ToHost::Survived { errno, .. }), .. } => {
            Err(failure(probe.name(), format!("only error {errno} stopped it")))
        }
        Ending::Stopped { cause, detail, .. } => Err(failure(probe.name(), format!("ended as {cause}: {detail}"))),
        other @ (Ending::Done { .. } | Ending::Refused(_)) => Err(failure(probe.name(), format!("{other:?}"))),
    }
}

fn failure(probe: &'static str, detail: String) -> JailError {
    JailError::SelfTest { probe, detail }
}

fn one_pixel() -> std::io::Result<File> {
    let len = ONE_PIXEL.len() as u64;
    let mut file = memfd::create(len)?;
    file.write_all(&ONE_PIXEL)?;
    memfd::seal(&file, len)?;
    Ok(file)
}
