//! One byte for each of a few choices.

use super::Input;
use crate::format::{Animation, ArtefactFormat, Colour, MultiPage, OutputFormat};

pub(super) const fn bool_from_code(code: u8) -> Option<bool> {
    match code {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

pub(super) const fn input_code(input: Input) -> u8 {
    match input {
        Input::Mapped => 0,
        Input::Follows => 1,
    }
}

pub(super) fn input_from_code(code: u8) -> Option<Input> {
    [Input::Mapped, Input::Follows].into_iter().find(|&input| input_code(input) == code)
}

pub(super) const fn animation_code(animation: Animation) -> u8 {
    match animation {
        Animation::Keep => 0,
        Animation::FirstFrame => 1,
    }
}

pub(super) fn animation_from_code(code: u8) -> Option<Animation> {
    [Animation::Keep, Animation::FirstFrame].into_iter().find(|&animation| animation_code(animation) == code)
}

pub(super) const fn pages_code(pages: MultiPage) -> u8 {
    match pages {
        MultiPage::Hold => 0,
        MultiPage::First => 1,
    }
}

pub(super) fn pages_from_code(code: u8) -> Option<MultiPage> {
    [MultiPage::Hold, MultiPage::First].into_iter().find(|&pages| pages_code(pages) == code)
}

pub(super) const fn colour_code(colour: Colour) -> u8 {
    match colour {
        Colour::Srgb => 0,
        Colour::Keep => 1,
    }
}

pub(super) fn colour_from_code(code: u8) -> Option<Colour> {
    [Colour::Srgb, Colour::Keep].into_iter().find(|&colour| colour_code(colour) == code)
}

pub(super) fn output_from_code(code: u8) -> Option<OutputFormat> {
    [OutputFormat::Jpeg, OutputFormat::Png, OutputFormat::Gif, OutputFormat::WebP]
        .into_iter()
        .find(|&format| ArtefactFormat::from(format).code() == code)
}
