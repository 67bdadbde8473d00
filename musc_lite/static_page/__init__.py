"""A fitted detector as one HTML file: the explorers without Jupyter, computed by the reader's browser.

`publish` writes it. `quantized` makes a few bytes of each patch vector, `agreement` measures what that costs, `content`
collects what the page needs, `bundle` joins the scripts: `core.js` computes and knows no page, the views are those of
`musc_lite.widgets`, and each explorer is a file.
"""
