// text_parse
