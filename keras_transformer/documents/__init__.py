"""Files translated with everything but their text left as it was: txt, srt, vtt, html, docx. Knows no Keras."""
