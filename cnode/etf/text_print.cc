// text_print
