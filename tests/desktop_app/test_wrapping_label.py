"""Sentences that take further lines."""

from desktop_app.wrapping_label import WrappingLabel


def test_it_asks_for_the_same_width_whatever_it_says(root):
    label = WrappingLabel(root, text="Short.")
    root.update_idletasks()
    asked = label.winfo_reqwidth()
    label.configure(text="A sentence that goes on and on. " * 20)
    root.update_idletasks()
    assert label.winfo_reqwidth() == asked


def test_text_takes_the_lines_it_needs(root):
    root.geometry("400x300")
    root.deiconify()
    label = WrappingLabel(root, text="Short.")
    label.pack(fill="x")
    root.update()
    line = label.winfo_height()
    label.configure(text="A sentence that goes on and on. " * 20)
    root.update()
    assert label.winfo_height() > 3 * line
    assert label.winfo_width() == root.winfo_width()
    label.destroy()
