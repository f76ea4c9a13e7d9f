//! serverless-gateway
