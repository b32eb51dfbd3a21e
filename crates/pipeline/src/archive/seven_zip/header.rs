//! The header of a 7z: where the packed streams lie, what they are packed by, how long the members are, their names.

use std::ops::Range;

/// More coders, and more inputs or outputs, in one folder 7-Zip itself does not read.
const MAX_CODERS: u64 = 32;
const MAX_ENDS: u64 = 64;

/// More folders than that are not looked at.
const MAX_FOLDERS: u64 = 16_384;

type Parsed<T> = Result<T, &'static str>;

/// Property identifiers.
mod id {
    pub(super) const END: u8 = 0x00;
    pub(super) const HEADER: u8 = 0x01;
    pub(super) const ARCHIVE_PROPERTIES: u8 = 0x02;
    pub(super) const ADDITIONAL_STREAMS: u8 = 0x03;
    pub(super) const MAIN_STREAMS: u8 = 0x04;
    pub(super) const FILES: u8 = 0x05;
    pub(super) const PACK_INFO: u8 = 0x06;
    pub(super) const UNPACK_INFO: u8 = 0x07;
    pub(super) const SUB_STREAMS: u8 = 0x08;
    pub(super) const SIZE: u8 = 0x09;
    pub(super) const CRC: u8 = 0x0a;
    pub(super) const FOLDER: u8 = 0x0b;
    pub(super) const UNPACK_SIZES: u8 = 0x0c;
    pub(super) const STREAM_COUNTS: u8 = 0x0d;
    pub(super) const EMPTY_STREAM: u8 = 0x0e;
    pub(super) const NAMES: u8 = 0x11;
    pub(super) const PACKED_HEADER: u8 = 0x17;
}

/// Coders.
pub(super) mod method {
    pub(in super::super) const COPY: u64 = 0x00;
    pub(in super::super) const DELTA: u64 = 0x03;
    pub(in super::super) const LZMA2: u64 = 0x21;
    pub(in super::super) const LZMA: u64 = 0x03_01_01;
    pub(in super::super) const X86: u64 = 0x03_03_01_03;
    pub(in super::super) const BCJ2: u64 = 0x03_03_01_1b;
    pub(in super::super) const PPC: u64 = 0x03_03_02_05;
    pub(in super::super) const IA64: u64 = 0x03_03_04_01;
    pub(in super::super) const ARM: u64 = 0x03_03_05_01;
    pub(in super::super) const ARM_THUMB: u64 = 0x03_03_07_01;
    pub(in super::super) const SPARC: u64 = 0x03_03_08_05;
    pub(in super::super) const PPMD: u64 = 0x03_04_01;
    pub(in super::super) const DEFLATE: u64 = 0x04_01_08;
    pub(in super::super) const BZIP2: u64 = 0x04_02_02;
    pub(in super::super) const AES: u64 = 0x06_f1_07_01;
}

/// What a header is.
pub(super) enum Header<'a> {
    Plain(Archive<'a>),
    /// The header is packed itself.
    Packed(Streams),
    /// It counts more members than are looked at.
    TooMany(u64),
}

/// What an archive holds.
#[derive(Default)]
pub(super) struct Archive<'a> {
    pub(super) streams: Streams,
    pub(super) files: u64,
    /// Which members have no data.
    empty: Vec<bool>,
    /// UTF-16, each ended by a zero.
    names: &'a [u8],
}

impl Archive<'_> {
    /// The names of the members with data, in the order of their data.
    pub(super) fn names_with_data(&self) -> impl Iterator<Item = Vec<u8>> {
        let units = self.names.chunks_exact(2).map(|unit| u16::from_le_bytes([unit[0], unit[1]]));
        let mut units = units.peekable();
        let names = std::iter::from_fn(move || {
            units.peek()?;
            let name: Vec<u16> = units.by_ref().take_while(|unit| *unit != 0).collect();
            Some(String::from_utf16_lossy(&name).into_bytes())
        });
        names.enumerate().filter(|(index, _)| self.empty.get(*index) != Some(&true)).map(|(_, name)| name)
    }
}

/// Packed streams and the folders that unpack them.
#[derive(Default)]
pub(super) struct Streams {
    packed_at: u64,
    packed_sizes: Vec<u64>,
    folders: Vec<Folder>,
}

/// A folder with its packed streams, which lie behind each other.
pub(super) struct Block<'a> {
    pub(super) folder: &'a Folder,
    pub(super) start: u64,
    pub(super) packed_size: u64,
}

impl Streams {
    /// The folders. `base` is what packed streams are counted from.
    pub(super) fn blocks(&self, base: u64) -> impl Iterator<Item = Parsed<Block<'_>>> {
        const SHORT: &str = "its folders need more packed streams than there are";
        let mut sizes = self.packed_sizes.iter();
        let mut start = base.checked_add(self.packed_at);
        self.folders.iter().map(move |folder| {
            let mut packed_size = 0_u64;
            for _ in &folder.packed {
                packed_size = packed_size.checked_add(*sizes.next().ok_or(SHORT)?).ok_or(SHORT)?;
            }
            let block = Block { folder, start: start.ok_or(SHORT)?, packed_size };
            start = block.start.checked_add(packed_size);
            Ok(block)
        })
    }
}

/// Coders that unpack one stream together.
#[derive(Default)]
pub(super) struct Folder {
    pub(super) coders: Vec<Coder>,
    /// The input that gets an output, and this output.
    pub(super) binds: Vec<(u64, u64)>,
    /// The inputs that get packed streams.
    pub(super) packed: Vec<u64>,
    /// What each output comes to.
    sizes: Vec<u64>,
    has_crc: bool,
    /// How long the members are that it unpacks to.
    pub(super) members: Vec<u64>,
}

pub(super) struct Coder {
    pub(super) method: u64,
    pub(super) inputs: u64,
    pub(super) outputs: u64,
    pub(super) properties: Vec<u8>,
}

impl Folder {
    pub(super) fn is_encrypted(&self) -> bool {
        self.coders.iter().any(|coder| coder.method == method::AES)
    }

    /// The output that is bound to nothing.
    pub(super) fn main_output(&self) -> Option<u64> {
        let count = self.coders.iter().map(|coder| coder.outputs).sum();
        (0..count).find(|output| self.binds.iter().all(|(_, bound)| bound != output))
    }

    /// What it unpacks to.
    pub(super) fn size(&self) -> u64 {
        let main = self.main_output().and_then(|output| usize::try_from(output).ok());
        main.and_then(|output| self.sizes.get(output)).copied().unwrap_or_default()
    }
}

impl<'a> Header<'a> {
    pub(super) fn parse(bytes: &'a [u8], max_entries: u64) -> Parsed<Self> {
        let mut rest = Bytes(bytes);
        match rest.byte()? {
            id::PACKED_HEADER => Ok(match read_streams(&mut rest, max_entries)? {
                Some(streams) => Self::Packed(streams),
                None => Self::TooMany(max_entries.saturating_add(1)),
            }),
            id::HEADER => parse_plain(&mut rest, max_entries),
            _ => Err("its header is not understood"),
        }
    }
}

fn parse_plain<'a>(rest: &mut Bytes<'a>, max_entries: u64) -> Parsed<Header<'a>> {
    let too_many = || Ok(Header::TooMany(max_entries.saturating_add(1)));
    let mut archive = Archive::default();
    loop {
        match rest.byte()? {
            id::END => break,
            id::ARCHIVE_PROPERTIES => {
                while rest.byte()? != id::END {
                    let len = rest.number()?;
                    rest.take(len)?;
                }
            }
            id::ADDITIONAL_STREAMS => return Err("its header lies in several places"),
            id::MAIN_STREAMS => match read_streams(rest, max_entries)? {
                Some(streams) => archive.streams = streams,
                None => return too_many(),
            },
            id::FILES => {
                archive.files = rest.number()?;
                if archive.files > max_entries {
                    return too_many();
                }
                read_files(rest, &mut archive)?;
            }
            _ => return Err("its header is not understood"),
        }
    }
    let with_data = archive.files.saturating_sub(archive.empty.iter().filter(|empty| **empty).count() as u64);
    let members: usize = archive.streams.folders.iter().map(|folder| folder.members.len()).sum();
    if with_data != members as u64 {
        return Err("it has another number of members than of data for them");
    }
    Ok(Header::Plain(archive))
}

fn read_files<'a>(rest: &mut Bytes<'a>, archive: &mut Archive<'a>) -> Parsed<()> {
    loop {
        let property = rest.byte()?;
        if property == id::END {
            return Ok(());
        }
        let len = rest.number()?;
        let mut body = Bytes(rest.take(len)?);
        match property {
            id::EMPTY_STREAM => archive.empty = body.bits(archive.files)?,
            id::NAMES => {
                if body.byte()? != 0 {
                    return Err("its names lie in several places");
                }
                archive.names = body.0;
            }
            _ => {}
        }
    }
}

/// None: there are more members than are looked at.
fn read_streams(rest: &mut Bytes<'_>, max_entries: u64) -> Parsed<Option<Streams>> {
    let mut streams = Streams::default();
    let mut has_sub_streams = false;
    loop {
        match rest.byte()? {
            id::END => break,
            id::PACK_INFO => read_pack_info(rest, &mut streams)?,
            id::UNPACK_INFO => streams.folders = read_folders(rest)?,
            id::SUB_STREAMS => {
                has_sub_streams = true;
                if !read_members(rest, &mut streams.folders, max_entries)? {
                    return Ok(None);
                }
            }
            _ => return Err("its streams are not understood"),
        }
    }
    if !has_sub_streams {
        streams.folders.iter_mut().for_each(|folder| folder.members = vec![folder.size()]);
    }
    Ok(Some(streams))
}

fn read_pack_info(rest: &mut Bytes<'_>, streams: &mut Streams) -> Parsed<()> {
    streams.packed_at = rest.number()?;
    let count = rest.number()?;
    loop {
        match rest.byte()? {
            id::END => return Ok(()),
            // Each takes a byte at least, so there are no more of them than the header is long.
            id::SIZE => streams.packed_sizes = (0..count).map(|_| rest.number()).collect::<Parsed<_>>()?,
            id::CRC => rest.checksums(count).map(|_| ())?,
            _ => return Err("its packed streams are not understood"),
        }
    }
}

fn read_folders(rest: &mut Bytes<'_>) -> Parsed<Vec<Folder>> {
    if rest.byte()? != id::FOLDER {
        return Err("its folders are not understood");
    }
    let count = rest.number()?;
    if count > MAX_FOLDERS {
        return Err("it has too many folders to be looked at");
    }
    if rest.byte()? != 0 {
        return Err("its folders lie in several places");
    }
    let mut folders = (0..count).map(|_| read_folder(rest)).collect::<Parsed<Vec<_>>>()?;
    loop {
        match rest.byte()? {
            id::END => return Ok(folders),
            id::UNPACK_SIZES => {
                for folder in &mut folders {
                    let outputs: u64 = folder.coders.iter().map(|coder| coder.outputs).sum();
                    folder.sizes = (0..outputs).map(|_| rest.number()).collect::<Parsed<_>>()?;
                }
            }
            id::CRC => {
                let told = rest.checksums(count)?;
                folders.iter_mut().zip(told).for_each(|(folder, told)| folder.has_crc = told);
            }
            _ => return Err("its folders are not understood"),
        }
    }
}

fn read_folder(rest: &mut Bytes<'_>) -> Parsed<Folder> {
    const BAD: &str = "a folder is not understood";
    let mut folder = Folder::default();
    let count = rest.number()?;
    if count == 0 || count > MAX_CODERS {
        return Err(BAD);
    }
    for _ in 0..count {
        let flags = rest.byte()?;
        let id = rest.take(u64::from(flags & 0x0f))?;
        if id.len() > 8 || flags & 0xc0 != 0 {
            return Err(BAD);
        }
        let method = id.iter().fold(0, |method, byte| method << 8 | u64::from(*byte));
        let (inputs, outputs) = if flags & 0x10 == 0 { (1, 1) } else { (rest.number()?, rest.number()?) };
        if inputs > MAX_ENDS || outputs > MAX_ENDS {
            return Err(BAD);
        }
        let len = if flags & 0x20 == 0 { 0 } else { rest.number()? };
        let properties = rest.take(len)?.to_vec();
        folder.coders.push(Coder { method, inputs, outputs, properties });
    }
    let inputs: u64 = folder.coders.iter().map(|coder| coder.inputs).sum();
    let outputs: u64 = folder.coders.iter().map(|coder| coder.outputs).sum();
    if inputs > MAX_ENDS || outputs > MAX_ENDS {
        return Err(BAD);
    }
    let bound = outputs.checked_sub(1).ok_or(BAD)?;
    folder.binds = (0..bound).map(|_| Ok((rest.number()?, rest.number()?))).collect::<Parsed<_>>()?;
    let packed = inputs.checked_sub(bound).filter(|packed| *packed > 0).ok_or(BAD)?;
    folder.packed = if packed == 1 {
        (0..inputs).filter(|input| folder.binds.iter().all(|(bound, _)| bound != input)).take(1).collect()
    } else {
        (0..packed).map(|_| rest.number()).collect::<Parsed<_>>()?
    };
    if folder.packed.len() as u64 == packed { Ok(folder) } else { Err(BAD) }
}

/// Splits what the folders unpack to. Returns whether all members are looked at.
fn read_members(rest: &mut Bytes<'_>, folders: &mut [Folder], max_entries: u64) -> Parsed<bool> {
    const BAD: &str = "the sizes of its members are not understood";
    let mut counts = vec![1; folders.len()];
    let mut property = rest.byte()?;
    if property == id::STREAM_COUNTS {
        let mut total = 0_u64;
        for count in &mut counts {
            *count = rest.number()?;
            total = total.saturating_add(*count);
            if total > max_entries {
                return Ok(false);
            }
        }
        property = rest.byte()?;
    }
    let has_sizes = property == id::SIZE;
    for (folder, count) in folders.iter_mut().zip(&counts) {
        let mut left = folder.size();
        for index in 0..*count {
            let is_last = index + 1 == *count;
            // The last one's size is what is left.
            let size = match (is_last, has_sizes) {
                (true, _) => left,
                (false, true) => rest.number()?,
                (false, false) => return Err(BAD),
            };
            left = left.checked_sub(size).ok_or(BAD)?;
            folder.members.push(size);
        }
    }
    if has_sizes {
        property = rest.byte()?;
    }
    let known = |(folder, count): (&Folder, &u64)| if *count == 1 && folder.has_crc { 0 } else { *count };
    let unknown = folders.iter().zip(&counts).map(known).sum();
    loop {
        match property {
            id::END => return Ok(true),
            id::CRC => rest.checksums(unknown).map(|_| ())?,
            _ => return Err(BAD),
        }
        property = rest.byte()?;
    }
}

/// What is left of a header.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn byte(&mut self) -> Parsed<u8> {
        Ok(self.take(1)?[0])
    }

    fn take(&mut self, len: u64) -> Parsed<&'a [u8]> {
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        let (taken, rest) = self.0.split_at_checked(len).ok_or("its header ends too early")?;
        self.0 = rest;
        Ok(taken)
    }

    /// The bits that are set at the first byte's top count the bytes behind it.
    fn number(&mut self) -> Parsed<u64> {
        let first = self.byte()?;
        let more = first.leading_ones();
        let behind = self.take(u64::from(more))?;
        let low = behind.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte));
        let high = if more >= 7 { 0 } else { u64::from(first) & (0x7f >> more) };
        Ok(low | high.checked_shl(8 * more).unwrap_or_default())
    }

    fn bits(&mut self, count: u64) -> Parsed<Vec<bool>> {
        let bytes = self.take(count.div_ceil(8))?;
        let of = |byte: &u8| -> [bool; 8] { std::array::from_fn(|bit| byte & 0x80 >> bit != 0) };
        // `count` bits are there, so it fits a `usize`.
        Ok(bytes.iter().flat_map(of).take(usize::try_from(count).unwrap_or_default()).collect())
    }

    /// Which of `count` things have a checksum; all of them are passed over.
    fn checksums(&mut self, count: u64) -> Parsed<Vec<bool>> {
        let told = if self.byte()? == 0 {
            self.bits(count)?
        } else {
            // Four bytes for each have to follow.
            let all: Range<u64> = 0..count.min(self.0.len() as u64);
            all.map(|_| true).collect()
        };
        let bytes = told.iter().filter(|told| **told).count() as u64 * 4;
        self.take(bytes)?;
        Ok(told)
    }
}
