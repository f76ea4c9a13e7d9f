//! gpu-server
