// ids
