//! Codecs for foreign types in stored records.

/// A [`jiff::Timestamp`] as whole milliseconds since the epoch.
pub mod instant {
    use jiff::Timestamp;
    use minicbor::{Decoder, Encoder};

    /// Writes milliseconds.
    ///
    /// # Errors
    ///
    /// Those of the writer.
    pub fn encode<C, W: minicbor::encode::Write>(
        at: &Timestamp,
        to: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        to.i64(at.as_millisecond())?.ok()
    }

    /// Reads milliseconds.
    ///
    /// # Errors
    ///
    /// If it is no integer, or out of range.
    pub fn decode<C>(from: &mut Decoder<'_>, _: &mut C) -> Result<Timestamp, minicbor::decode::Error> {
        Timestamp::from_millisecond(from.i64()?).map_err(|_| minicbor::decode::Error::message("instant out of range"))
    }
}

/// An optional [`jiff::Timestamp`].
pub mod maybe_instant {
    use jiff::Timestamp;
    use minicbor::{Decoder, Encoder, data::Type};

    /// Writes milliseconds or null.
    ///
    /// # Errors
    ///
    /// Those of the writer.
    pub fn encode<C, W: minicbor::encode::Write>(
        at: &Option<Timestamp>,
        to: &mut Encoder<W>,
        context: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        match at {
            Some(at) => super::instant::encode(at, to, context),
            None => to.null()?.ok(),
        }
    }

    /// Reads milliseconds or null.
    ///
    /// # Errors
    ///
    /// If it is neither, or out of range.
    pub fn decode<C>(from: &mut Decoder<'_>, context: &mut C) -> Result<Option<Timestamp>, minicbor::decode::Error> {
        if from.datatype()? == Type::Null {
            return from.null().map(|()| None);
        }
        super::instant::decode(from, context).map(Some)
    }
}
