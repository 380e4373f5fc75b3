"""The receiver that `bulkmail bench` sends to, for the benchmarks: python -m benchmarks.sink, with the same options."""

from bulkmail.bench.receiver import main

if __name__ == "__main__":
    main()
