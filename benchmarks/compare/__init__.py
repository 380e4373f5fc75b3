"""bulkmail beside what people would use instead: same receiver, same list, same message, in one run."""
