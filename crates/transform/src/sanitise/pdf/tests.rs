use std::fmt::Write as _;

use lazaret_sandbox::Refusal;

use super::*;
use crate::{sanitise::spelled, verify::pdf::verify};

/// A file of these objects, numbered from 1, with the first as its catalog.
fn file(objects: &[&[u8]]) -> Vec<u8> {
    let mut bytes = b"%PDF-1.6\n".to_vec();
    let mut table = format!("xref\n0 {}\n0000000000 65535 f \n", objects.len() + 1);
    for (index, object) in objects.iter().enumerate() {
        writeln!(table, "{:010} 00000 n ", bytes.len()).unwrap();
        bytes.extend([format!("{} 0 obj\n", index + 1).as_bytes(), object, b"\nendobj\n"].concat());
    }
    let start = bytes.len();
    let trailer = format!("trailer\n<</Size {}/Root 1 0 R>>\nstartxref\n{start}\n%%EOF\n", objects.len() + 1);
    bytes.extend([table.as_bytes(), trailer.as_bytes()].concat());
    bytes
}

/// A document of one page, with more in its catalog, more on its page, and more objects from number 5 on.
fn document(catalog: &str, page: &str, more: &[&[u8]]) -> Vec<u8> {
    let catalog = format!("<</Type/Catalog/Pages 2 0 R{catalog}>>");
    let page = format!("<</Type/Page/Parent 2 0 R/MediaBox[0 0 99 99]/Contents 4 0 R{page}>>");
    let kids = b"<</Type/Pages/Count 1/Kids[3 0 R]>>";
    let content = b"<</Length 17>>stream\nBT (Kept) Tj ET q\nendstream";
    file(&[&[catalog.as_bytes(), kids, page.as_bytes(), content][..], more].concat())
}

fn rewritten(input: &[u8]) -> Vec<u8> {
    let mut output = Vec::new();
    write_anew(input, &mut output).unwrap();
    verify(&output).unwrap();
    assert!(has(&output, b"BT (Kept) Tj ET q"), "the page is gone");
    output
}

fn refused(input: &[u8]) -> Refusal {
    write_anew(input, &mut Vec::new()).unwrap_err().into()
}

fn has(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}

/// What acts, wherever it hangs: nothing that says `Evil` comes through.
#[test]
fn nothing_acts() {
    let script = "<</S/JavaScript/JS(Evil)>>";
    let link = |action: &str| format!("/Annots[<</Type/Annot/Subtype/Link/Rect[0 0 9 9]/A {action}>>]");
    for (catalog, page) in [
        (format!("/OpenAction{script}"), String::new()),
        ("/OpenAction<</S/J#61vaScript/JS(Evil)>>".to_owned(), String::new()),
        (format!("/AA<</WC{script}/DP{script}>>"), String::new()),
        (format!("/Names<</JavaScript<</Names[(Evil){script}]>>>>"), String::new()),
        ("/Names<</EmbeddedFiles<</Names[(Evil)5 0 R]>>/AlternatePresentations(Evil)>>".to_owned(), String::new()),
        ("/URI<</Base(http://Evil)>>/AF[5 0 R]/Collection<</D(Evil)>>".to_owned(), String::new()),
        ("/AcroForm<</Fields[]/XFA(Evil)/CO[6 0 R]>>".to_owned(), String::new()),
        (format!("/AcroForm<</Fields[<</FT/Tx/T(a)/AA<</K{script}>>>>]>>"), String::new()),
        (
            "/AcroForm<</Fields[<</FT/Sig/T(a)/V<</Type/Sig/Contents<4576696C>/Reason(Evil)>>>>]>>".to_owned(),
            String::new(),
        ),
        (format!("/Outlines<</First<</Title(a)/A{script}>>>>"), String::new()),
        (format!("/Outlines<</First<</Title(a)/A<</S/GoTo/D[3 0 R/Fit]/Next{script}>>>>>>"), String::new()),
        (format!("/Outlines<</First<</Title(a)/Unheard-of{script}>>>>"), String::new()),
        ("/Outlines<</First<</Title(a)/Unheard-of<</S 6 0 R/Evil(Evil)>>>>>>".to_owned(), String::new()),
        ("/Metadata 5 0 R/Perms<</DocMDP(Evil)>>/Legal(Evil)/PieceInfo<</Evil(Evil)>>".to_owned(), String::new()),
        ("/Requirements[<</S/EnableJavaScripts/RH(Evil)>>]/Evil(Evil)".to_owned(), String::new()),
        (String::new(), format!("/AA<</O{script}>>/Metadata 5 0 R/PieceInfo<</Evil(Evil)>>/Thumb 5 0 R/Evil(Evil)")),
        (String::new(), link(script)),
        (String::new(), link("7 0 R")),
        (String::new(), link("[<</S/JavaScript/JS(Evil)>>]")),
        (String::new(), link("<</S/URI/URI(javascript:Evil)>>")),
        (String::new(), link("<</S/URI/URI(file:///Evil)>>")),
        (String::new(), link("<</S/URI/URI( data:Evil)>>")),
        (String::new(), link("<</S/URI/URI(https://a\\nEvil)>>")),
        (String::new(), link("<</S/Launch/F(Evil)/Win<</F(Evil)>>>>")),
        (String::new(), link("<</S/GoToR/F(Evil)/D[0/Fit]>>")),
        (String::new(), link("<</S/GoToE/T<</N(Evil)>>>>")),
        (String::new(), link("<</S/SubmitForm/F(http://Evil)>>")),
        (String::new(), link("<</S/ImportData/F(Evil)>>")),
        (String::new(), link("<</S/Named/N/Evil>>")),
        (String::new(), link("<</S/Rendition/OP 0/R<</Evil(Evil)>>>>")),
        (String::new(), "/Annots[<</Subtype/FileAttachment/Rect[0 0 9 9]/FS 5 0 R/Contents(Evil)>>]".to_owned()),
        (String::new(), "/Annots[<</Subtype/RichMedia/Rect[0 0 9 9]/Contents(Evil)>>]".to_owned()),
        (String::new(), "/Annots[<</Subtype/Screen/Rect[0 0 9 9]/Contents(Evil)>>]".to_owned()),
        (String::new(), "/Annots[<</Subtype/Movie/Rect[0 0 9 9]/Movie<</F(Evil)>>>>]".to_owned()),
        (String::new(), "/Annots[<</Subtype/3D/Rect[0 0 9 9]/3DD 5 0 R/Contents(Evil)>>]".to_owned()),
        (String::new(), "/Annots[<</Subtype/Text/Rect[0 0 9 9]/FS<</Type/Filespec/F(Evil)>>>>]".to_owned()),
        (String::new(), "/Annots[<</Subtype/Text/Rect[0 0 9 9]/FS<</F(Evil)/EF<</F 5 0 R>>>>>>]".to_owned()),
        (String::new(), "/Resources<</XObject<</a 8 0 R/b 9 0 R>>>>".to_owned()),
    ] {
        let input = document(
            &catalog,
            &page,
            &[
                b"<</Type/EmbeddedFile/Length 4>>stream\nEvil\nendstream",
                b"/JavaScript",
                b"<</S 6 0 R/JS 5 0 R/Evil(Evil)>>",
                b"<</Type/XObject/Subtype/PS/Length 4>>stream\nEvil\nendstream",
                b"<</Type/XObject/Subtype/Form/F(Evil)/OPI<</Evil(Evil)>>/Ref<</F(Evil)>>/PS 8 0 R/Length 1>>stream\nq\nendstream",
            ],
        );
        let output = rewritten(&input);
        assert!(has(&input, b"Evil") && !has(&output, b"Evil"), "{}", String::from_utf8_lossy(&output));
        assert!(!has(&output, b"4576696C") && !has(&output, b"JavaScript"), "{}", String::from_utf8_lossy(&output));
    }
}

#[test]
fn what_is_seen_stays() {
    let input = document(
        "/Outlines<</First<</Title(Chapter)/A<</S/GoTo/D[3 0 R/Fit]>>>>>>/Lang(de)/PageMode/UseOutlines\
         /Names<</Dests<</Names[(top)[3 0 R/Fit]]>>>>/AcroForm<</Fields[5 0 R]/DA(/F 9 Tf)>>\
         /StructTreeRoot<</K<</S/P/A<</O/Layout/Placement/Block>>>>>>",
        "/Annots[5 0 R 6 0 R<</Subtype/Link/Rect[0 0 9 9]/A<</S/Named/N/NextPage>>>>]\
         /Resources<</XObject<</AA 7 0 R>>/Font<</PS<</Type/Font/Subtype/Type1/BaseFont/Times>>>>>>",
        &[
            b"<</Type/Annot/Subtype/Widget/FT/Tx/T(name)/V(typed)/Rect[0 0 9 9]>>",
            b"<</Type/Annot/Subtype/Link/Rect[0 0 9.5 -.25]/A<</S/URI/URI(HTTPS://example.org/a?b=c)>>>>",
            b"<</Type/XObject/Subtype/Image/Length 5>>stream\npixel\nendstream",
        ],
    );
    let output = rewritten(&input);
    for kept in [
        "(Chapter)",
        "/S/GoTo/D[",
        "(de)",
        "/UseOutlines",
        "(top)[",
        "(/F 9 Tf)",
        "/O/Layout",
        "(typed)",
        "(HTTPS://example.org/a?b=c)",
        "9.5 -0.25",
        "/N/NextPage",
        "pixel",
        "/BaseFont/Times",
    ] {
        assert!(has(&output, kept.as_bytes()), "{kept} is gone: {}", String::from_utf8_lossy(&output));
    }
}

#[test]
fn only_what_is_reachable_and_nothing_around_it() {
    let plain = document("", "", &[]);
    let mut input = document("", "", &[b"(Evil)", b"<</Length 4>>stream\nEvil\nendstream"]);
    input.extend(b"PK\x05\x06Evil<script>");
    assert_eq!(rewritten(&input), rewritten(&plain));
    assert!(rewritten(&input).ends_with(b"\n%%EOF\n"));
    // An earlier revision of the page, which an update replaced.
    let mut updated = plain.clone();
    let (start, previous) = (updated.len(), plain.windows(4).position(|window| window == b"xref").unwrap());
    updated.extend(b"4 0 obj\n<</Length 17>>stream\nBT (Kept) Tj ET Q\nendstream\nendobj\n");
    let xref = updated.len();
    updated.extend(
        format!(
            "xref\n4 1\n{start:010} 00000 n \ntrailer\n<</Size 5/Root 1 0 R/Prev {previous}>>\nstartxref\n{xref}\n%%EOF"
        )
        .bytes(),
    );
    let mut output = Vec::new();
    write_anew(&updated, &mut output).unwrap();
    assert!(has(&output, b"ET Q") && !has(&output, b"ET q"));
}

#[test]
fn what_a_stream_or_a_string_spells_is_hidden() {
    let content: &[u8] = b"<</Length 24/Filter[]>>stream\n<script>alert(1)</script>\nendstream";
    for page in ["/Resources<</XObject<</a 5 0 R>>>>", "/Annots[<</Subtype/Text/Rect[0 0 9 9]/Contents(<Script>)>>]"] {
        let input =
            document("", page, &[b"<</Length 25/Subtype/Form>>stream\n<script>alert(1)</script>\nendstream", content]);
        let output = rewritten(&input);
        assert!(spelled::find(&input).is_some() && spelled::find(&output).is_none());
    }
    let output = rewritten(&document(
        "",
        "/Resources<</XObject<</a 5 0 R>>>>",
        &[b"<</Length 11/Subtype/Form/Filter/LZW/DecodeParms<</EarlyChange 0>>>>stream\nPK\x05\x06aaaaaaa\nendstream"],
    ));
    assert!(has(&output, b"/Filter[/ASCIIHexDecode/LZW]"), "{}", String::from_utf8_lossy(&output));
    assert!(has(&output, b"/DecodeParms[null<</EarlyChange 0>>]"), "{}", String::from_utf8_lossy(&output));
}

#[test]
fn what_is_not_whole_is_refused() {
    let whole = document("", "", &[]);
    assert_eq!(refused(b"%PDF-1.7\n").code, RefusalCode::Unparsable);
    assert_eq!(refused(&whole[..whole.len() / 2]).code, RefusalCode::Unparsable);
    assert_eq!(refused(&[b"<html>", &whole[..]].concat()).code, RefusalCode::Unparsable);
    for (catalog, page, detail) in [
        ("", "/Annots 5 0 R", "object 5 cannot be parsed"),
        ("", "/Resources<</XObject<</a 6 0 R>>>>", "filter"),
        ("/Lang 7 0 R", "", "chain of references"),
    ] {
        let more: &[&[u8]] = &[b"<</Broken", b"<</Filter/Unheard-of/Length 0>>stream\n\nendstream", b"8 0 R", b"7 0 R"];
        let refusal = refused(&document(catalog, page, more));
        assert_eq!(refusal.code, RefusalCode::Unparsable);
        assert!(refusal.detail.as_str().contains(detail), "{refusal:?}");
    }
    assert_eq!(refused(&file(&[b"<</Type/Catalog/Pages 2 0 R>>", b"<</Kids[]>>"])).code, RefusalCode::Unparsable);
    assert_eq!(refused(&file(&[b"<</Type/Catalog/Pages 2 0 R>>", b"<</Kids[9 0 R]>>"])).code, RefusalCode::Unparsable);
    // A page, or all of them, that does not come through for what it is.
    for kind in ["Filespec", "Annot", "Sig"] {
        let page = format!("<</Type/{kind}>>");
        let alone = file(&[b"<</Type/Catalog/Pages 2 0 R>>", page.as_bytes()]);
        let among =
            file(&[b"<</Type/Catalog/Pages 2 0 R>>", b"<</Kids[3 0 R 4 0 R]>>", b"<</Type/Page>>", page.as_bytes()]);
        for broken in [alone, among] {
            let refusal = refused(&broken);
            assert_eq!(refusal.code, RefusalCode::Unparsable);
            assert!(refusal.detail.as_str().contains("page tree"), "{refusal:?}");
        }
    }
}

#[test]
fn what_nests_without_end_is_refused() {
    let deep = |count: usize| format!("/Annots{}{}", "[".repeat(count), "]".repeat(count));
    assert!(!rewritten(&document("", &deep(80), &[])).is_empty());
    assert_eq!(refused(&document("", &deep(100_000), &[])).code, RefusalCode::Unparsable);
    // A page tree that leads back to itself has no page of that branch twice.
    let kids = file(&[b"<</Type/Catalog/Pages 2 0 R>>", b"<</Kids[2 0 R 2 0 R]>>"]);
    assert_eq!(refused(&kids).code, RefusalCode::Unparsable);
}

#[test]
fn the_second_file_is_as_long_as_its_room() {
    let input = document("", "", &[]);
    let output = rewritten(&input);
    let mut room = vec![0; output.len()];
    assert_eq!(sanitise(&input, &mut room).unwrap(), output.len() as u64);
    assert_eq!(room, output);
    let mut room = vec![0; output.len() - 1];
    assert_eq!(Refusal::from(sanitise(&input, &mut room).unwrap_err()).code, RefusalCode::OutputLimit);
}

#[test]
fn a_file_of_another_writer_is_not_verified() {
    assert!(verify(&document("", "", &[])).is_err());
    let output = rewritten(&document("", "", &[]));
    assert!(verify(&[&output[..], b"PK\x03\x04"].concat()).unwrap_err().contains("trail"));
    assert!(verify(&[b"\n", &output[..]].concat()).is_err());
}
