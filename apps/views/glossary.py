"""What the pages mean by their words."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from apps.glossary import WORDS

for title, words in WORDS.items():
    st.subheader(title, anchor=False)
    rows = [{"word": word, "means": meaning} for word, meaning in words.items()]
    columns = {
        "word": st.column_config.TextColumn(width="small"),
        "means": st.column_config.TextColumn(width="large"),
    }
    st.dataframe(pd.DataFrame(rows), hide_index=True, alt=title, column_config=columns)
