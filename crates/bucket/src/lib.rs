//! Every byte to and from the bucket.
