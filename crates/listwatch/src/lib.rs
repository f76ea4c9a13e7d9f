//! listwatch
