eval
--jsonl
