//! What of a drawing comes through.

/// The namespace of SVG.
pub(crate) const SVG: &str = "http://www.w3.org/2000/svg";
/// The namespace of references in SVG 1.1.
pub(super) const XLINK: &str = "http://www.w3.org/1999/xlink";
/// The namespace of `xml:space` and `xml:lang`.
pub(super) const XML: &str = "http://www.w3.org/XML/1998/namespace";

/// Elements that draw, or describe what draws. Sorted.
const ELEMENTS: &[&str] = &[
    "circle",
    "clipPath",
    "defs",
    "desc",
    "ellipse",
    "feBlend",
    "feColorMatrix",
    "feComponentTransfer",
    "feComposite",
    "feConvolveMatrix",
    "feDiffuseLighting",
    "feDisplacementMap",
    "feDistantLight",
    "feDropShadow",
    "feFlood",
    "feFuncA",
    "feFuncB",
    "feFuncG",
    "feFuncR",
    "feGaussianBlur",
    "feMerge",
    "feMergeNode",
    "feMorphology",
    "feOffset",
    "fePointLight",
    "feSpecularLighting",
    "feSpotLight",
    "feTile",
    "feTurbulence",
    "filter",
    "g",
    "line",
    "linearGradient",
    "marker",
    "mask",
    "path",
    "pattern",
    "polygon",
    "polyline",
    "radialGradient",
    "rect",
    "stop",
    "style",
    "svg",
    "switch",
    "symbol",
    "text",
    "textPath",
    "title",
    "tspan",
    "use",
];

/// Properties, as attributes or in style sheets. Sorted.
const PROPERTIES: &[&str] = &[
    "alignment-baseline",
    "baseline-shift",
    "clip",
    "clip-path",
    "clip-rule",
    "color",
    "color-interpolation",
    "color-interpolation-filters",
    "color-rendering",
    "direction",
    "display",
    "dominant-baseline",
    "enable-background",
    "fill",
    "fill-opacity",
    "fill-rule",
    "filter",
    "flood-color",
    "flood-opacity",
    "font",
    "font-family",
    "font-size",
    "font-size-adjust",
    "font-stretch",
    "font-style",
    "font-variant",
    "font-weight",
    "image-rendering",
    "isolation",
    "kerning",
    "letter-spacing",
    "lighting-color",
    "line-height",
    "marker",
    "marker-end",
    "marker-mid",
    "marker-start",
    "mask",
    "mask-type",
    "mix-blend-mode",
    "opacity",
    "overflow",
    "paint-order",
    "shape-rendering",
    "stop-color",
    "stop-opacity",
    "stroke",
    "stroke-dasharray",
    "stroke-dashoffset",
    "stroke-linecap",
    "stroke-linejoin",
    "stroke-miterlimit",
    "stroke-opacity",
    "stroke-width",
    "text-anchor",
    "text-decoration",
    "text-rendering",
    "transform",
    "transform-box",
    "transform-origin",
    "unicode-bidi",
    "vector-effect",
    "visibility",
    "white-space",
    "word-spacing",
    "writing-mode",
];

/// Attributes that are no properties. Sorted.
const ATTRIBUTES: &[&str] = &[
    "amplitude",
    "azimuth",
    "baseFrequency",
    "bias",
    "class",
    "clipPathUnits",
    "cx",
    "cy",
    "d",
    "diffuseConstant",
    "divisor",
    "dx",
    "dy",
    "edgeMode",
    "elevation",
    "exponent",
    "filterUnits",
    "fr",
    "fx",
    "fy",
    "gradientTransform",
    "gradientUnits",
    "height",
    "id",
    "in",
    "in2",
    "intercept",
    "k1",
    "k2",
    "k3",
    "k4",
    "kernelMatrix",
    "kernelUnitLength",
    "lengthAdjust",
    "limitingConeAngle",
    "markerHeight",
    "markerUnits",
    "markerWidth",
    "maskContentUnits",
    "maskUnits",
    "method",
    "mode",
    "numOctaves",
    "offset",
    "operator",
    "order",
    "orient",
    "pathLength",
    "patternContentUnits",
    "patternTransform",
    "patternUnits",
    "points",
    "pointsAtX",
    "pointsAtY",
    "pointsAtZ",
    "preserveAlpha",
    "preserveAspectRatio",
    "primitiveUnits",
    "r",
    "radius",
    "refX",
    "refY",
    "requiredFeatures",
    "result",
    "rotate",
    "rx",
    "ry",
    "scale",
    "seed",
    "side",
    "slope",
    "spacing",
    "specularConstant",
    "specularExponent",
    "spreadMethod",
    "startOffset",
    "stdDeviation",
    "stitchTiles",
    "surfaceScale",
    "systemLanguage",
    "tableValues",
    "targetX",
    "targetY",
    "textLength",
    "type",
    "values",
    "version",
    "viewBox",
    "width",
    "x",
    "x1",
    "x2",
    "xChannelSelector",
    "y",
    "y1",
    "y2",
    "yChannelSelector",
    "z",
];

/// Whether an element of this name, in SVG's namespace, draws.
pub(crate) fn is_allowed_element(name: &str) -> bool {
    ELEMENTS.binary_search(&name).is_ok()
}

/// Whether a property draws.
pub(super) fn is_allowed_property(name: &str) -> bool {
    PROPERTIES.binary_search(&name).is_ok()
}

/// Whether an attribute without a namespace draws. `style` and references have rules of their own.
pub(crate) fn is_allowed_attribute(name: &str) -> bool {
    is_allowed_property(name) || ATTRIBUTES.binary_search(&name).is_ok()
}

/// Whether a value is only itself: it names nothing outside of the document, and hides nothing that does.
pub(super) fn is_allowed_value(value: &str) -> bool {
    let lower = value.to_ascii_lowercase();
    let functions = ["image(", "image-set(", "src(", "attr(", "element(", "expression(", "javascript:", "data:"];
    let hides = lower.contains(['\\', '<', '@', '{', '}', ';']) || lower.contains("/*");
    !hides && !functions.iter().any(|word| lower.contains(word)) && refers_inside(&lower)
}

/// Whether every `url()` is a fragment of this document.
fn refers_inside(lower: &str) -> bool {
    lower.match_indices("url").all(|(at, _)| {
        let rest = lower[at + 3..].trim_start();
        // A word that only contains these letters.
        let Some(inner) = rest.strip_prefix('(') else { return true };
        let Some((inner, _)) = inner.split_once(')') else { return false };
        let inner = inner.trim();
        let quoted = ['"', '\''].iter().find_map(|&quote| inner.strip_prefix(quote)?.strip_suffix(quote));
        is_fragment(quoted.unwrap_or(inner).trim())
    })
}

/// Whether a reference stays within the document.
pub(super) fn is_fragment(reference: &str) -> bool {
    let name = reference.strip_prefix('#');
    name.is_some_and(|name| !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || "\"'()#<>\\".contains(c)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_sorted() {
        assert!(ELEMENTS.is_sorted() && PROPERTIES.is_sorted() && ATTRIBUTES.is_sorted());
    }

    #[test]
    fn values_refer_to_nothing_outside() {
        for value in [
            "red",
            "url(#a)",
            "url( '#a.b-c' ) red",
            "curl",
            "rgb(1, 2, 3)",
            "translate(1 2)",
            "\"DejaVu Sans\", serif",
        ] {
            assert!(is_allowed_value(value), "{value}");
        }
        for value in [
            "url(http://example.org/a.svg#b)",
            "URL (//example.org)",
            "url(#a) url(data:image/png;base64,)",
            "url(#a",
            "u\\72l(http://example.org)",
            "ur/**/l(http://example.org)",
            "expression(alert(1))",
            "image-set('a.png' 1x)",
            "red;behavior:x",
            "url(\"#a\"),url(b)",
            "url('#a)",
            "url(#a')",
        ] {
            assert!(!is_allowed_value(value), "{value}");
        }
    }
}
