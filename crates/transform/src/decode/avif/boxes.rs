//! The container of AVIF: boxes (ISO/IEC 14496-12) with items and their properties (ISO/IEC 23008-12).

use std::borrow::Cow;

/// The image that the file is about.
#[derive(Debug)]
pub(super) struct Container<'a> {
    pub(super) image: Item<'a>,
    pub(super) alpha: Option<Item<'a>>,
    /// Whether alpha is multiplied into the colours.
    pub(super) multiplied_in: bool,
}

/// One coded image.
#[derive(Debug)]
pub(super) struct Item<'a> {
    pub(super) data: Cow<'a, [u8]>,
    pub(super) properties: Properties<'a>,
}

/// What is said of an image beside its data.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Properties<'a> {
    /// Width and height before it is turned.
    pub(super) size: Option<(u32, u32)>,
    pub(super) profile: Option<&'a [u8]>,
    pub(super) code_points: Option<CodePoints>,
    /// Quarter turns against the clock.
    pub(super) turns: u8,
    /// After turning: 0 for top with bottom, 1 for left with right.
    pub(super) mirror: Option<u8>,
    pub(super) cropped: bool,
    is_alpha: bool,
}

/// ITU-T H.273.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CodePoints {
    pub(super) primaries: u16,
    pub(super) transfer: u16,
    pub(super) matrix: u16,
    pub(super) full_range: bool,
}

type Why = &'static str;
const CUT: Why = "an AVIF box is cut short";
const NO_DATA: Why = "an AVIF image without data";

impl<'a> Container<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, Why> {
        let mut file = boxes(bytes);
        let (_, brands) =
            file.next().transpose()?.filter(|(kind, _)| *kind == b"ftyp").ok_or("an AVIF begins with ftyp")?;
        if !brands.chunks(4).any(|brand| matches!(brand, b"avif" | b"avis")) {
            return Err("a file of boxes that is no AVIF");
        }
        let mut meta = None;
        for found in file {
            if let (b"meta", payload) = found? {
                meta = Some(payload.get(4..).ok_or(CUT)?);
                break;
            }
        }
        let meta = Meta::read(bytes, meta.ok_or("an AVIF without a still image")?)?;
        let primary = meta.primary.ok_or("an AVIF without a primary image")?;
        let image = meta.item(primary)?;
        let alpha = meta.references.iter().filter(|link| link.kind == *b"auxl" && link.to == primary);
        let alpha = alpha.map(|link| link.from).find(|&id| meta.properties(id).is_alpha);
        let prem = |link: &Link| link.kind == *b"prem" && link.from == primary && Some(link.to) == alpha;
        let multiplied_in = meta.references.iter().any(prem);
        Ok(Self { image, alpha: alpha.map(|id| meta.item(id)).transpose()?, multiplied_in })
    }
}

/// A reference from one item to another.
struct Link {
    kind: [u8; 4],
    from: u32,
    to: u32,
}

struct Meta<'a> {
    file: &'a [u8],
    primary: Option<u32>,
    kinds: Vec<(u32, [u8; 4])>,
    places: Vec<Place>,
    references: Vec<Link>,
    all: Vec<(&'a [u8; 4], &'a [u8])>,
    /// Items with the number of a property, from 1.
    given: Vec<(u32, usize)>,
    data: &'a [u8],
}

/// Where the data of an item lie.
struct Place {
    item: u32,
    in_meta: bool,
    extents: Vec<(u64, u64)>,
}

impl<'a> Meta<'a> {
    fn read(file: &'a [u8], payload: &'a [u8]) -> Result<Self, Why> {
        let mut meta = Self {
            file,
            primary: None,
            kinds: Vec::new(),
            places: Vec::new(),
            references: Vec::new(),
            all: Vec::new(),
            given: Vec::new(),
            data: &[],
        };
        for found in boxes(payload) {
            let (kind, payload) = found?;
            let mut reader = Reader(payload);
            match kind {
                b"pitm" => meta.primary = Some(read_primary(&mut reader)?),
                b"iinf" => meta.kinds = read_kinds(&mut reader)?,
                b"iloc" => meta.places = read_places(&mut reader)?,
                b"iref" => meta.references = read_references(&mut reader)?,
                b"iprp" => meta.read_properties(payload)?,
                b"idat" => meta.data = payload,
                _ => {}
            }
        }
        Ok(meta)
    }

    fn read_properties(&mut self, payload: &'a [u8]) -> Result<(), Why> {
        for found in boxes(payload) {
            match found? {
                (b"ipco", payload) => self.all = boxes(payload).collect::<Result<_, _>>()?,
                (b"ipma", payload) => {
                    let mut reader = Reader(payload);
                    let (version, flags) = reader.version()?;
                    for _ in 0..reader.number(4)? {
                        let item = reader.id(version >= 1)?;
                        for _ in 0..reader.number(1)? {
                            // The highest bit says that it is essential.
                            let index =
                                if flags & 1 == 1 { reader.number(2)? & 0x7fff } else { reader.number(1)? & 0x7f };
                            self.given.push((item, usize::try_from(index).map_err(|_| CUT)?));
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn properties(&self, id: u32) -> Properties<'a> {
        let mut properties = Properties::default();
        for (_, index) in self.given.iter().filter(|(item, _)| *item == id) {
            if let Some((kind, payload)) = index.checked_sub(1).and_then(|index| self.all.get(index)) {
                properties.add(**kind, payload);
            }
        }
        properties
    }

    fn item(&self, id: u32) -> Result<Item<'a>, Why> {
        match self.kinds.iter().find(|(item, _)| *item == id).map(|(_, kind)| kind) {
            Some(b"av01") => {}
            Some(b"grid") => return Err("an AVIF that is a grid of images is not supported"),
            _ => return Err("an AVIF whose image is not AV1 is not supported"),
        }
        let place = self.places.iter().find(|place| place.item == id).ok_or(NO_DATA)?;
        let whole = if place.in_meta { self.data } else { self.file };
        let extent = |&(offset, length): &(u64, u64)| {
            let start = usize::try_from(offset).ok()?;
            let end = if length == 0 { whole.len() } else { start.checked_add(usize::try_from(length).ok()?)? };
            whole.get(start..end)
        };
        let data = match place.extents.as_slice() {
            [one] => Cow::Borrowed(extent(one).ok_or("an AVIF image is cut short")?),
            all => {
                let parts = all.iter().map(|one| extent(one).ok_or("an AVIF image is cut short"));
                // Extents may overlap: no more than the file holds is put together.
                let parts: Vec<_> = parts.collect::<Result<_, _>>()?;
                if parts.iter().map(|part| part.len()).sum::<usize>() > self.file.len() {
                    return Err("an AVIF image is longer than its file");
                }
                Cow::Owned(parts.concat())
            }
        };
        if data.is_empty() {
            return Err(NO_DATA);
        }
        Ok(Item { data, properties: self.properties(id) })
    }
}

impl<'a> Properties<'a> {
    fn add(&mut self, kind: [u8; 4], payload: &'a [u8]) {
        match (&kind, payload) {
            (b"ispe", [_, _, _, _, w3, w2, w1, w0, h3, h2, h1, h0, ..]) => {
                let number = |bytes: [&u8; 4]| u32::from_be_bytes(bytes.map(|byte| *byte));
                self.size = Some((number([w3, w2, w1, w0]), number([h3, h2, h1, h0])));
            }
            (b"colr", [b'n', b'c', b'l', b'x', p1, p0, t1, t0, m1, m0, range, ..]) => {
                self.code_points = Some(CodePoints {
                    primaries: u16::from_be_bytes([*p1, *p0]),
                    transfer: u16::from_be_bytes([*t1, *t0]),
                    matrix: u16::from_be_bytes([*m1, *m0]),
                    full_range: range & 0x80 != 0,
                });
            }
            (b"colr", [b'p', b'r', b'o', b'f', profile @ ..] | [b'r', b'I', b'C', b'C', profile @ ..]) => {
                self.profile = Some(profile);
            }
            (b"irot", [turns, ..]) => self.turns = turns & 3,
            (b"imir", [axis, ..]) => self.mirror = Some(axis & 1),
            (b"clap", _) => self.cropped = true,
            (b"auxC", [_, _, _, _, name @ ..]) => {
                let alpha: [&[u8]; 2] =
                    [b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha\0", b"urn:mpeg:hevc:2015:auxid:1\0"];
                self.is_alpha = alpha.iter().any(|alpha| name.starts_with(alpha));
            }
            _ => {}
        }
    }
}

fn read_primary(reader: &mut Reader<'_>) -> Result<u32, Why> {
    let (version, _) = reader.version()?;
    reader.id(version >= 1)
}

fn read_kinds(reader: &mut Reader<'_>) -> Result<Vec<(u32, [u8; 4])>, Why> {
    let (version, _) = reader.version()?;
    reader.number(if version == 0 { 2 } else { 4 })?;
    let mut kinds = Vec::new();
    for found in boxes(reader.0) {
        let (b"infe", payload) = found? else { continue };
        let mut reader = Reader(payload);
        let (version, _) = reader.version()?;
        if version >= 2 {
            let id = reader.id(version >= 3)?;
            reader.number(2)?;
            kinds.push((id, reader.kind()?));
        }
    }
    Ok(kinds)
}

fn read_places(reader: &mut Reader<'_>) -> Result<Vec<Place>, Why> {
    let (version, _) = reader.version()?;
    let sizes = reader.number(2)?;
    let size = |shift: u32| usize::from(u8::try_from(sizes >> shift & 15).unwrap_or_default());
    let (offset_size, length_size, base_size) = (size(12), size(8), size(4));
    let index_size = if version == 0 { 0 } else { size(0) };
    let count = reader.id(version >= 2)?;
    let mut places = Vec::new();
    for _ in 0..count {
        let item = reader.id(version >= 2)?;
        let method = if version == 0 { 0 } else { reader.number(2)? & 15 };
        if method > 1 || reader.number(2)? != 0 {
            return Err("an AVIF with data in another place is not supported");
        }
        let base = reader.number(base_size)?;
        let mut extents = Vec::new();
        for _ in 0..reader.number(2)? {
            reader.number(index_size)?;
            let offset = base.checked_add(reader.number(offset_size)?).ok_or(CUT)?;
            extents.push((offset, reader.number(length_size)?));
        }
        places.push(Place { item, in_meta: method == 1, extents });
    }
    Ok(places)
}

fn read_references(reader: &mut Reader<'_>) -> Result<Vec<Link>, Why> {
    let (version, _) = reader.version()?;
    let mut links = Vec::new();
    for found in boxes(reader.0) {
        let (kind, payload) = found?;
        let mut reader = Reader(payload);
        let from = reader.id(version >= 1)?;
        for _ in 0..reader.number(2)? {
            links.push(Link { kind: *kind, from, to: reader.id(version >= 1)? });
        }
    }
    Ok(links)
}

/// The boxes in these bytes, one behind the other.
fn boxes(mut bytes: &[u8]) -> impl Iterator<Item = Result<(&[u8; 4], &[u8]), Why>> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let found = split_box(bytes);
        bytes = found.map_or(&[], |(.., rest)| rest);
        Some(found.map(|(kind, payload, _)| (kind, payload)).ok_or(CUT))
    })
}

/// Kind and payload of the first box, and what follows it.
fn split_box(bytes: &[u8]) -> Option<(&[u8; 4], &[u8], &[u8])> {
    let (size, rest) = bytes.split_first_chunk()?;
    let (kind, rest) = rest.split_first_chunk()?;
    let (size, header) = match u32::from_be_bytes(*size) {
        0 => (bytes.len(), 8),
        1 => (usize::try_from(u64::from_be_bytes(*rest.first_chunk()?)).ok()?, 16),
        size => (usize::try_from(size).ok()?, 8),
    };
    Some((kind, bytes.get(header..size)?, bytes.get(size..)?))
}

/// Numbers from the front of some bytes.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    /// A number of at most eight bytes, big-endian.
    fn number(&mut self, len: usize) -> Result<u64, Why> {
        let (bytes, rest) = self.0.split_at_checked(len).filter(|_| len <= 8).ok_or(CUT)?;
        self.0 = rest;
        Ok(bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// The number of an item.
    fn id(&mut self, long: bool) -> Result<u32, Why> {
        u32::try_from(self.number(if long { 4 } else { 2 })?).map_err(|_| CUT)
    }

    fn kind(&mut self) -> Result<[u8; 4], Why> {
        let (kind, rest) = self.0.split_first_chunk().ok_or(CUT)?;
        self.0 = rest;
        Ok(*kind)
    }

    /// Version and flags of a full box.
    fn version(&mut self) -> Result<(u8, u32), Why> {
        let [version, f2, f1, f0] = self.kind()?;
        Ok((version, u32::from_be_bytes([0, f2, f1, f0])))
    }
}
