//! Layers as real programs write and read them.

mod frames;
mod gzip;
mod tar;
