eval
--expr
1 +
