# Writes the bytes of IN as the C array NAME into OUT.
file(READ ${IN} hex HEX)
string(REGEX REPLACE "(..)" "0x\\1, " body "${hex}")
# 12 bytes a line
string(REGEX REPLACE "((0x.., ){12})" "\\1\n\t" body "${body}")
file(WRITE ${OUT} "static const unsigned char ${NAME}[] = {\n\t${body}\n};\n")
