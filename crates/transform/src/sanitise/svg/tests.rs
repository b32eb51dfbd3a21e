use lazaret_sandbox::Refusal;

use super::*;
use crate::verify::svg::verify;

fn drawing(inner: &str) -> String {
    format!(
        "<?xml version='1.0'?><!-- c --><svg xmlns='{SVG}' xmlns:x='http://www.w3.org/1999/xlink' \
         xmlns:i='http://ns.adobe.com/AdobeIllustrator/10.0/' viewBox='0 0 9 9'>{inner}<path d='M0 0h9'/></svg>"
    )
}

fn rewritten(input: &str) -> String {
    let mut output = Vec::new();
    write_anew(input.as_bytes(), &mut output).unwrap();
    verify(&output).unwrap();
    let output = String::from_utf8(output).unwrap();
    assert!(output.starts_with("<svg xmlns=") && output.contains("<path d=\"M0 0h9\"/>"), "{output}");
    output
}

fn refused(input: &[u8]) -> Refusal {
    write_anew(input, &mut Vec::new()).unwrap_err().into()
}

#[test]
fn nothing_acts_and_nothing_leads_elsewhere() {
    for inner in [
        "<script>Evil</script>",
        "<script x:href='http://Evil'/>",
        "<g onclick='Evil' onLoad='Evil'/>",
        "<foreignObject><body xmlns='http://www.w3.org/1999/xhtml'>Evil</body></foreignObject>",
        "<html xmlns='http://www.w3.org/1999/xhtml'>Evil</html>",
        "<image x:href='http://Evil/a.png'/>",
        "<image href='data:image/svg+xml;base64,Evil'/>",
        "<use href='http://Evil/a.svg#b'/>",
        "<use x:href='data:Evil'/>",
        "<a href='javascript:Evil'><g/></a>",
        "<a x:href='#ok' target='Evil'><g/></a>",
        "<set attributeName='onclick' to='Evil'/>",
        "<animate attributeName='href' values='javascript:Evil'/>",
        "<g style='fill:url(http://Evil)'/>",
        "<g style='fill:red;behavior:url(Evil)'/>",
        "<g style='fill:\\75rl(Evil)'/>",
        "<g fill='url(//Evil)' filter='URL( &quot;Evil#a&quot; )'/>",
        "<style>@import 'Evil';</style>",
        "<style>@font-face{font-family:a;src:url(Evil)}</style>",
        "<style>a{background:url(Evil)} g{fill:url(Evil)}</style>",
        "<style><![CDATA[</style><script>Evil]]></style>",
        "<filter id='a'><feImage href='http://Evil'/></filter>",
        "<i:pgf>Evil</i:pgf>",
        "<g i:knockout='Evil' data-a='Evil' unheard-of='Evil'/>",
        "<metadata>Evil</metadata>",
        "<!-- Evil -->",
        "<?xml-stylesheet href='Evil'?>",
        "<font-face-uri x:href='Evil'/>",
        "<iframe src='Evil'/>",
        "<handler>Evil</handler>",
    ] {
        let output = rewritten(&drawing(inner));
        assert!(!output.contains("Evil") && !output.contains("script"), "{inner}: {output}");
    }
}

#[test]
fn what_draws_stays() {
    let output = rewritten(&drawing(
        "<defs><linearGradient id='g'><stop offset='0' stop-color='red'/></linearGradient></defs>\
         <style type='text/css'><![CDATA[.a > b{fill:url(#g)}]]></style>\
         <g id='a' class='a' transform='rotate(1)' style='fill: red; stroke:blue'/><use x:href='#a' href='#g'/>\
         <text x='1' xml:space='preserve'>a &lt;b&gt; &amp; <tspan font-family='\"A B\", serif'>ü</tspan></text>\
         <a href='https://example.org'><rect width='1'/></a>",
    ));
    for kept in [
        "<stop offset=\"0\" stop-color=\"red\"/>",
        "<style type=\"text/css\">.a &gt; b{fill:url(#g)}\n</style>",
        "<g id=\"a\" class=\"a\" transform=\"rotate(1)\" style=\"fill:red;stroke:blue\"/>",
        "<use xlink:href=\"#g\"/>",
        "<text x=\"1\" xml:space=\"preserve\">a &lt;b&gt; &amp; <tspan font-family=\"&quot;A B&quot;, serif\">ü</tspan></text>",
        "<g><rect width=\"1\"/></g>",
    ] {
        assert!(output.contains(kept), "{kept} is not in {output}");
    }
}

#[test]
fn entities_and_encodings_are_resolved() {
    let entities =
        format!("<!DOCTYPE svg [<!ENTITY ns '{SVG}'><!ENTITY d 'M0 0h9'>]><svg xmlns='&ns;'><path d='&d;'/></svg>");
    assert!(!rewritten(&entities).contains("ENTITY"));
    let wide = "\u{feff}<svg xmlns='http://www.w3.org/2000/svg'><desc>ü</desc></svg>".encode_utf16();
    for order in [u16::to_le_bytes, u16::to_be_bytes] {
        let mut output = Vec::new();
        write_anew(&wide.clone().flat_map(order).collect::<Vec<_>>(), &mut output).unwrap();
        assert!(String::from_utf8(output).unwrap().contains("<desc>ü</desc>"));
    }
    let old =
        b"<?xml version='1.0' encoding='ISO-8859-1'?><svg xmlns='http://www.w3.org/2000/svg'><desc>\xfc</desc></svg>";
    let mut output = Vec::new();
    write_anew(old, &mut output).unwrap();
    assert!(String::from_utf8(output).unwrap().contains("<desc>ü</desc>"));
}

#[test]
fn bombs_and_what_is_not_whole_are_refused() {
    let laughs = (1..12).fold("<!DOCTYPE svg [<!ENTITY a0 'ha'>".to_owned(), |text, level| {
        format!("{text}<!ENTITY a{level} '{}'>", format!("&a{};", level - 1).repeat(10))
    });
    let laughs = format!("{laughs}]><svg xmlns='{SVG}'><text>&a11;</text></svg>");
    let uses = (1..12).fold("<g id='u0'><path d=''/></g>".to_owned(), |text, level| {
        format!("{text}<g id='u{level}'>{}</g>", format!("<use href='#u{}'/>", level - 1).repeat(10))
    });
    let deep = format!("{}{}", "<g>".repeat(100_000), "</g>".repeat(100_000));
    for (input, detail) in [
        (laughs, ""),
        (drawing(&uses), "unfold"),
        (drawing("<g id='a'><use href='#a'/></g>"), "uses itself"),
        (drawing(&deep), "within each other"),
        ("<svg xmlns='http://www.w3.org/2000/svg'>".to_owned(), ""),
        ("<svg/>".to_owned(), "no svg element"),
        ("<html xmlns='http://www.w3.org/1999/xhtml'/>".to_owned(), "no svg element"),
        (format!("<!DOCTYPE a SYSTEM 'file:///etc/passwd'><svg xmlns='{SVG}'>&a;</svg>"), ""),
        (format!("<!DOCTYPE a [<!ENTITY a SYSTEM 'file:///etc/passwd'>]><svg xmlns='{SVG}'>&a;</svg>"), ""),
        (format!("<svg xmlns='{SVG}'/>PK"), ""),
    ] {
        let refusal = refused(input.as_bytes());
        assert_eq!(refusal.code, RefusalCode::Unparsable);
        assert!(refusal.detail.as_str().contains(detail), "{refusal:?}");
    }
}

#[test]
fn a_file_of_another_writer_is_not_verified() {
    assert!(verify(drawing("").as_bytes()).is_err());
    let output = rewritten(&drawing(""));
    assert!(verify(format!("{output}x").as_bytes()).is_err());
    assert!(verify(output.replace("<path", "<path onclick=\"x\"").as_bytes()).is_err());
}
