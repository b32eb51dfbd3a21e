//! What a file name's extension promises.

use lazaret_core::MediaType;

/// Extensions with the types they stand for. An extension that is not here promises nothing.
const EXTENSIONS: &[(&[&str], &[&str])] = &[
    (&["jpg", "jpeg", "jpe", "jfif"], &["image/jpeg"]),
    (&["png", "apng"], &["image/png"]),
    (&["gif"], &["image/gif"]),
    (&["webp"], &["image/webp"]),
    (&["bmp", "dib"], &["image/bmp"]),
    (&["tif", "tiff"], &["image/tiff"]),
    (&["ico"], &["image/x-icon"]),
    (&["avif", "avifs"], &["image/avif"]),
    (&["heic", "heics", "hif"], &["image/heic", "image/heif"]),
    (&["heif", "heifs"], &["image/heic", "image/heif", "image/avif"]),
    (&["svg"], &["image/svg+xml"]),
    (&["svgz"], &[]),
    (&["pdf"], &["application/pdf"]),
    (&["zip"], &["application/zip"]),
    (&["gz", "tgz"], &["application/gzip"]),
    (&["7z"], &["application/x-7z-compressed"]),
    (&["rar"], &["application/vnd.rar"]),
    (&["tar"], &["application/x-tar"]),
    (&["bz2", "tbz", "tbz2"], &["application/x-bzip2"]),
    (&["xz", "txz"], &["application/x-xz"]),
    (&["zst", "tzst"], &["application/zstd"]),
    (&["docx"], &["application/vnd.openxmlformats-officedocument.wordprocessingml.document"]),
    (&["xlsx"], &["application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"]),
    (&["pptx"], &["application/vnd.openxmlformats-officedocument.presentationml.presentation"]),
    (&["docm"], &["application/vnd.ms-word.document.macroenabled.12"]),
    (&["xlsm"], &["application/vnd.ms-excel.sheet.macroenabled.12"]),
    (&["pptm"], &["application/vnd.ms-powerpoint.presentation.macroenabled.12"]),
    (&["odt"], &["application/vnd.oasis.opendocument.text"]),
    (&["ods"], &["application/vnd.oasis.opendocument.spreadsheet"]),
    (&["odp"], &["application/vnd.oasis.opendocument.presentation"]),
    (&["epub"], &["application/epub+zip"]),
    (&["mp4", "m4v"], &["video/mp4"]),
    (&["mov"], &["video/quicktime"]),
    (&["webm"], &["video/webm"]),
    (&["mkv"], &["video/x-matroska"]),
    (&["avi"], &["video/x-msvideo", "video/avi"]),
    (&["mp3"], &["audio/mpeg"]),
    (&["m4a"], &["audio/mp4"]),
    (&["wav"], &["audio/wav"]),
    (&["ogg", "oga", "ogv"], &["audio/ogg", "video/ogg", "application/ogg"]),
    (&["flac"], &["audio/flac", "audio/x-flac"]),
    (&["txt", "text", "log"], &["text/plain"]),
    (&["md", "markdown"], &["text/markdown", "text/plain"]),
    (&["csv"], &["text/csv", "text/plain"]),
    (&["tsv"], &["text/tab-separated-values", "text/plain"]),
    (&["json"], &["application/json", "text/plain"]),
    (&["xml"], &["text/xml"]),
    (&["rtf"], &["application/rtf", "text/rtf"]),
    (&["html", "htm", "xhtml", "xht", "shtml", "mht", "mhtml"], &["text/html"]),
    (&["jar"], &["application/java-archive"]),
    (&["apk"], &["application/vnd.android.package-archive"]),
    (&["exe", "dll", "scr", "com", "sys", "cpl"], &["application/vnd.microsoft.portable-executable"]),
    (&["elf", "so"], &["application/x-elf"]),
    (&["sh", "bash", "zsh"], &["text/x-shellscript"]),
    (&["bat", "cmd"], &["application/x-bat"]),
    (&["php", "phtml", "php5", "phar"], &["application/x-httpd-php"]),
    (&["js", "mjs", "cjs"], &["text/javascript"]),
    (
        &[
            "vbs", "vbe", "wsf", "hta", "ps1", "psm1", "jse", "msi", "lnk", "url", "reg", "py", "pl", "rb", "jsp",
            "asp", "aspx", "desktop", "chm", "scf",
        ],
        &[],
    ),
];

/// Whether a file of this type may carry this extension (lower case, without its dot).
pub(super) fn allows(extension: &str, media_type: &MediaType) -> bool {
    EXTENSIONS
        .iter()
        .find(|(extensions, _)| extensions.contains(&extension))
        .is_none_or(|(_, types)| types.contains(&media_type.as_str()))
}
